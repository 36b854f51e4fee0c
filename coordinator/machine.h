// The round machine: jobs, devices, assignments and receipts as one pure state, `step(event, now) -> actions`.
//
// No sockets, threads, clock, disk or tensor bytes. The service drives it with wall time and a journal, the simulator
// with virtual time; both run this object. Not thread-safe: one owner thread.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/archive.h"
#include "coordinator/action.h"
#include "coordinator/event.h"
#include "coordinator/policy.h"
#include "protocol/plan_table.h"

namespace shoal::coordinator {

struct JobSummary {
  JobId job;
  JobSpec spec;
  JobStatus status = JobStatus::kRunning;
  std::string reason;
  Version version = 0;
  bool folding = false;
  std::uint64_t updates = 0;       // folded so far
  std::uint32_t outstanding = 0;   // open assignments
  std::uint32_t pending = 0;       // received, not folded
  std::size_t devices_wanted = 0;  // the job waits for that many idle devices; 0: it does not wait for devices
  std::size_t devices_idle = 0;
  std::set<Version> evaluations;  // under way, or next
};

// Ended jobs that the state keeps, with their newest model versions. When a job is submitted the older ones leave.
inline constexpr std::size_t kEndedJobsKept = 20;

class Machine {
 public:
  Machine();
  ~Machine();
  Machine(Machine&&) noexcept;
  Machine& operator=(Machine&&) noexcept;

  // `now` never runs backwards (checked). Equal states, events and times give equal actions.
  Actions step(const Event& event, Time now);

  // When event::Tick is due; kNever when nothing waits.
  Time next_timer() const;

  // The complete state, for a snapshot at a commit, and back. Bytes are of one build.
  std::string save() const;
  static Result<Machine> load(std::string_view bytes);

  // What a shell must take up again after load() and replay: folds that were asked for and not committed.
  std::vector<action::Fold> open_folds() const;

  // Queries for the shell. Const, cheap.
  std::optional<protocol::Assignment> assignment_of(DeviceId device,
                                                    Time now) const;  // open work; lease = what is left
  std::vector<JobSummary> jobs() const;
  std::optional<JobSummary> job(JobId id) const;
  // A plan of the job, and the devices online that would train it; the last row has no plan: these are left out.
  struct PlanDevices {
    protocol::PlanRow row;
    std::uint32_t devices = 0;
  };
  std::vector<PlanDevices> plan_devices(JobId job) const;
  // The place among its job's plans of what an open assignment trains.
  std::uint8_t plan_of(AssignmentId open) const;
  std::size_t online_devices() const;
  std::vector<DeviceId> online() const;
  // Is the body of this assignment's update still wanted: is it open, or received and not folded (or retained)?
  bool needs_body(AssignmentId id) const;
  bool storage_full() const;
  // No assignment is open, no update waits and no fold is under way.
  bool quiet() const;
  // Would this upload be admitted now? kNone, or the refusal that UpdateReceived would get. For a repeated digest of
  // the last receipt: kNone and `already` is set.
  protocol::Refusal admissible(DeviceId device, AssignmentId assignment, const protocol::UpdateFacts& facts,
                               bool* already) const;
  // Every invariant that must hold between steps; empty when all do. For tests and debug builds.
  std::vector<std::string> broken_invariants() const;

  struct State;  // machine_state.h

 private:
  std::unique_ptr<State> state_;
};

}  // namespace shoal::coordinator
