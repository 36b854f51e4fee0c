#include "coordinator/machine.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/rng.h"
#include "coordinator/turn.h"

namespace shoal::coordinator {

using protocol::Refusal;
using protocol::TaskKind;

Machine::Machine() : state_(std::make_unique<State>()) {}
Machine::~Machine() = default;
Machine::Machine(Machine&&) noexcept = default;
Machine& Machine::operator=(Machine&&) noexcept = default;

Actions Machine::step(const Event& event, Time now) {
  SHOAL_CHECK(now >= state_->now, "the machine's time runs backwards");
  state_->now = now;
  return Turn(*state_).take(event);
}

Time Machine::next_timer() const { return state_->timers.empty() ? kNever : state_->timers.begin()->at; }

std::string Machine::save() const { return encode_state(kStateFormat) + encode_state(*state_); }

namespace {

// Device numbers are dense and index a bitmap; no fleet is larger, and no damaged number makes a larger one.
constexpr std::uint64_t kMostDevices = std::uint64_t{1} << 28;

bool consistent(const Machine::State& s) {
  return (s.devices.empty() || s.devices.rbegin()->first.value < kMostDevices) &&
         std::all_of(s.jobs.begin(), s.jobs.end(), [](const auto& job) { return job.second.policy != nullptr; });
}

}  // namespace

Result<Machine> Machine::load(std::string_view bytes) {
  Machine machine;
  State& s = *machine.state_;
  Decoder decoder(bytes);
  std::uint32_t format = 0;
  decoder(format);
  if (decoder.ok() && format != kStateFormat)
    return Error(ErrorCode::kInvalid,
                 "the coordinator's state has format " + std::to_string(format) + ", and this build reads " +
                     std::to_string(kStateFormat) +
                     "; run the build that wrote it, or forget its jobs with --discard-open-rounds");
  decoder(s);
  if (!decoder.at_end() || !consistent(s))
    return Error(ErrorCode::kCorrupt, "the snapshot of the coordinator's state cannot be read by this build");
  for (auto& [id, job] : s.jobs) {
    SHOAL_TRY_ASSIGN(job.plans, protocol::parse_plan_table(job.spec.training.plan));
    for (const auto& [d, device] : s.devices)
      if (job.is_demanding() && device.idle() && job.may_work(device)) job.idle.insert(d);
  }
  for (const auto& [id, device] : s.devices) {
    if (device.idle()) s.idle.insert(id);
    if (device.idle_after) s.timers.insert({*device.idle_after, State::TimerKind::kPause, {}, id.value});
  }
  for (const auto& [id, open] : s.assignments)
    s.timers.insert({open.expires, State::TimerKind::kLease, open.assignment.job, id.value});
  for (const auto& [id, job] : s.jobs) {
    for (const auto& [key, at] : job.policy_timers) s.timers.insert({at, State::TimerKind::kPolicy, id, key});
    if (job.evaluation) s.timers.insert({job.evaluation->give_up, State::TimerKind::kEvaluation, id, 0});
  }
  // Whatever is looked up without asking is there.
  if (const auto broken = machine.broken_invariants(); !broken.empty())
    return Error(ErrorCode::kCorrupt, "the snapshot of the coordinator's state contradicts itself: " + broken.front());
  return machine;
}

std::vector<action::Fold> Machine::open_folds() const {
  std::vector<action::Fold> folds;
  for (const auto& [id, job] : state_->jobs)
    if (job.fold) folds.push_back(*job.fold);
  return folds;
}

std::optional<protocol::Assignment> Machine::assignment_of(DeviceId device, Time now) const {
  const auto d = state_->devices.find(device);
  if (d == state_->devices.end() || !d->second.working || d->second.revoked) return std::nullopt;
  const OpenAssignment& open = state_->assignments.at(d->second.working);
  protocol::Assignment assignment = open.assignment;
  assignment.lease = std::max(Duration::zero(), open.expires - std::max(now, state_->now));
  return assignment;
}

namespace {

JobSummary summarize(const Machine::State& s, JobId id, const JobState& job, std::uint32_t outstanding) {
  JobSummary summary;
  summary.job = id;
  summary.spec = job.spec;
  summary.status = job.status;
  summary.reason = job.reason;
  summary.version = job.version;
  summary.folding = job.fold.has_value();
  summary.updates = job.updates;
  summary.outstanding = outstanding;
  summary.pending = static_cast<std::uint32_t>(job.pending.size());
  summary.devices_idle = s.idle_for(job).size();
  if (job.evaluation)
    summary.evaluations = {job.evaluation->version, job.evaluation->next.value_or(job.evaluation->version)};
  if (job.running() && !job.finishing() && !s.storage_full)
    summary.devices_wanted = job.policy->devices_wanted({s.now, job.version, job.fold.has_value(), s.idle_for(job)});
  return summary;
}

}  // namespace

std::vector<JobSummary> Machine::jobs() const {
  std::map<JobId, std::uint32_t> outstanding;
  for (const auto& [id, open] : state_->assignments) ++outstanding[open.assignment.job];
  std::vector<JobSummary> summaries;
  for (const auto& [id, job] : state_->jobs) summaries.push_back(summarize(*state_, id, job, outstanding[id]));
  return summaries;
}

std::optional<JobSummary> Machine::job(JobId id) const {
  const auto found = state_->jobs.find(id);
  if (found == state_->jobs.end()) return std::nullopt;
  std::uint32_t outstanding = 0;
  for (const auto& [a, open] : state_->assignments) outstanding += open.assignment.job == id;
  return summarize(*state_, id, found->second, outstanding);
}

std::vector<Machine::PlanDevices> Machine::plan_devices(JobId id) const {
  const std::vector<protocol::PlanRow>& plans = state_->jobs.at(id).plans;
  std::vector<PlanDevices> counted(plans.size() + 1);
  for (std::size_t i = 0; i < plans.size(); ++i) counted[i].row = plans[i];
  for (const auto& [d, device] : state_->devices)
    if (device.online) ++counted[plan_for(plans, device.facts.memory_budget).value_or(plans.size())].devices;
  return counted;
}

std::uint8_t Machine::plan_of(AssignmentId open) const { return state_->assignments.at(open).plan; }

std::size_t Machine::online_devices() const {
  return static_cast<std::size_t>(
      std::count_if(state_->devices.begin(), state_->devices.end(), [](const auto& d) { return d.second.online; }));
}

std::vector<DeviceId> Machine::online() const {
  std::vector<DeviceId> ids;
  for (const auto& [id, device] : state_->devices)
    if (device.online) ids.push_back(id);
  return ids;
}

bool Machine::needs_body(AssignmentId id) const {
  if (state_->assignments.contains(id)) return true;
  return std::any_of(state_->jobs.begin(), state_->jobs.end(), [&](const auto& job) {
    return job.second.pending.contains(id) || job.second.spec.retain_updates;
  });
}

bool Machine::quiet() const {
  return state_->assignments.empty() && std::all_of(state_->jobs.begin(), state_->jobs.end(), [](const auto& job) {
           return !job.second.fold && job.second.pending.empty();
         });
}

bool Machine::storage_full() const { return state_->storage_full; }

Refusal Machine::admissible(DeviceId device, AssignmentId assignment, const protocol::UpdateFacts& facts,
                            bool* already) const {
  *already = false;
  const auto d = state_->devices.find(device);
  if (d == state_->devices.end()) return Refusal::kReplayed;
  return admission(*state_, d->second, assignment, facts, TaskKind::kTrain, already);
}

Refusal admission(const Machine::State& state, const DeviceState& device, AssignmentId assignment,
                  const protocol::UpdateFacts& facts, TaskKind kind, bool* already) {
  if (device.revoked) return Refusal::kRevoked;
  if (!assignment) return Refusal::kReplayed;
  if (assignment == device.last.assignment) {
    const bool received = device.last.digest != Digest{};
    if (received && facts.digest != device.last.digest) return Refusal::kConflict;
    *already = true;
    return device.last.refusal;
  }
  if (assignment != device.working) return Refusal::kReplayed;
  const OpenAssignment& open = state.assignments.at(assignment);
  if (open.assignment.kind != kind) return Refusal::kMalformed;
  if (kind == TaskKind::kEvaluate) return Refusal::kNone;
  if (facts.samples == 0 || facts.samples > open.assignment.max_samples) return Refusal::kSampleCount;
  // The zero digest means "no update came" in LastAnswer, and zero steps cannot make one.
  if (facts.steps == 0 || facts.digest == Digest{} || !std::isfinite(facts.loss)) return Refusal::kMalformed;
  // More steps than were asked for would buy weight where steps count (FedNova).
  const protocol::TrainingSpec& training = open.assignment.training;
  const std::uint64_t batches = (facts.samples + training.batch_size - 1) / training.batch_size;
  if (facts.steps > (open.assignment.steps > 0 ? open.assignment.steps : training.epochs * batches))
    return Refusal::kMalformed;
  return Refusal::kNone;
}

}  // namespace shoal::coordinator
