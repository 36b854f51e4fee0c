// What must always hold between two steps. Called after every step in simulation tests.
#include <set>

#include "coordinator/machine_state.h"

namespace shoal::coordinator {
namespace {

using Problems = std::vector<std::string>;

void check_devices(const Machine::State& s, Problems& problems) {
  for (const auto& [id, device] : s.devices) {
    const bool listed = s.idle.contains(id);
    if (listed != device.idle())
      problems.push_back("device " + std::to_string(id.value) + " is wrongly listed as idle or not");
    for (const auto& [job_id, job] : s.jobs)
      if (job.is_demanding() && job.idle.contains(id) != (device.idle() && job.may_work(device)))
        problems.push_back("device " + std::to_string(id.value) + " is wrongly listed as idle for job " +
                           std::to_string(job_id.value) + " or not");
    if (device.idle_after && !s.timers.contains({*device.idle_after, Machine::State::TimerKind::kPause, {}, id.value}))
      problems.push_back("device " + std::to_string(id.value) + " pauses for ever");
    if (device.working && !s.assignments.contains(device.working))
      problems.push_back("device " + std::to_string(id.value) + " works on an assignment that is not open");
  }
}

void check_assignments(const Machine::State& s, Problems& problems) {
  for (const auto& [id, open] : s.assignments) {
    const std::string name = "assignment " + std::to_string(id.value);
    const auto device = s.devices.find(open.device);
    if (device == s.devices.end() || device->second.working != id) problems.push_back(name + " is nobody's work");
    const auto job = s.jobs.find(open.assignment.job);
    if (job == s.jobs.end() || !job->second.running())
      problems.push_back(name + " belongs to no running job");
    else if (!job->second.versions.contains(open.assignment.version))
      problems.push_back(name + " needs a dropped version");
    if (!s.timers.contains({open.expires, Machine::State::TimerKind::kLease, open.assignment.job, id.value}))
      problems.push_back(name + " has no lease timer");
    if (id.value >= s.next_assignment) problems.push_back(name + " was never given out");
  }
}

void check_jobs(const Machine::State& s, Problems& problems) {
  std::size_t timers = s.assignments.size();
  for (const auto& [id, device] : s.devices) timers += device.idle_after.has_value();
  for (const auto& [id, job] : s.jobs) {
    const std::string name = "job " + std::to_string(id.value);
    timers += job.policy_timers.size() + (job.evaluation ? 1 : 0);
    if (job.evaluation && !job.versions.contains(job.evaluation->next.value_or(job.evaluation->version)))
      problems.push_back(name + " evaluates a dropped version");
    if (!job.versions.contains(job.version)) problems.push_back(name + " has lost its newest version");
    if (!job.running() && (job.fold || !job.pending.empty())) problems.push_back(name + " has ended with work in hand");
    if (!job.fold) continue;
    if (job.fold->version != job.version + 1) problems.push_back(name + " folds into the wrong version");
    std::set<AssignmentId> used;
    for (const auto& entry : job.fold->entries) {
      if (!used.insert(entry.assignment).second) problems.push_back(name + " folds an update twice");
      if (!job.pending.contains(entry.assignment)) problems.push_back(name + " folds an update that is not pending");
    }
  }
  if (timers != s.timers.size()) problems.push_back("there are timers for nothing, or things without a timer");
}

}  // namespace

std::vector<std::string> Machine::broken_invariants() const {
  Problems problems;
  check_devices(*state_, problems);
  check_assignments(*state_, problems);
  check_jobs(*state_, problems);
  return problems;
}

}  // namespace shoal::coordinator
