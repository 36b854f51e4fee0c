// The machine's complete state, as machine.cpp keeps it and snapshots write it. Private to the machine.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "coordinator/action.h"
#include "coordinator/machine.h"
#include "protocol/plan_table.h"

namespace shoal::coordinator {

// Raised whenever anything that a snapshot holds changes its layout: policies, job options, what is below.
inline constexpr std::uint32_t kStateFormat = 4;

// How a device's newest finished assignment ended, so that a repeated offer gets the same answer.
struct LastAnswer {
  AssignmentId assignment;
  Digest digest;  // of the update, zero when none came
  protocol::Refusal refusal = protocol::Refusal::kNone;
  template <class A>
  void fields(A& a) {
    a(assignment, digest, refusal);
  }
};

struct DeviceState {
  bool online = false;
  bool revoked = false;
  protocol::DeviceFacts facts;
  AssignmentId working;  // its open assignment; a device has at most one
  LastAnswer last;
  std::uint32_t failures = 0;      // assignments in a row that ended without what they asked for
  std::optional<Time> idle_after;  // it pauses until then, since a device that fails at once would be asked without end
  template <class A>
  void fields(A& a) {
    a(online, revoked, facts, working, last, failures, idle_after);
  }

  bool idle() const { return online && !revoked && !working && !idle_after; }
};

struct OpenAssignment {
  DeviceId device;
  protocol::Assignment assignment;
  std::uint8_t plan = 0;  // of the job's, by place
  Time made{}, expires{};
  template <class A>
  void fields(A& a) {
    a(device, assignment, plan, made, expires);
  }
};

// The one evaluation a job may have under way.
struct EvaluationState {
  Version version = 0;
  std::uint32_t wanted = 0;  // devices still to be asked
  Time give_up{};            // with those that answered until then
  std::set<DeviceId> asked;
  std::set<AssignmentId> outstanding;
  std::uint32_t answered = 0;
  protocol::EvaluationFacts facts;
  std::optional<Version> next;  // the newest version that came due meanwhile
  template <class A>
  void fields(A& a) {
    a(version, wanted, give_up, asked, outstanding, answered, facts, next);
  }
};

// What happened since the last fold, for the log.
struct RoundTally {
  std::uint32_t failed = 0;
  std::map<protocol::Refusal, std::uint32_t> refused;
  template <class A>
  void fields(A& a) {
    a(failed, refused);
  }
};

struct JobState {
  JobSpec spec;
  JobStatus status = JobStatus::kRunning;
  std::string reason;
  bool stopping = false;  // ends as soon as no fold is on its way
  Version version = 0;
  std::uint64_t updates = 0;  // folded
  std::optional<action::Fold> fold;
  std::map<AssignmentId, Entry> pending;        // received, with the policy
  std::map<std::uint64_t, Time> policy_timers;  // by the policy's key
  std::set<Version> versions;                   // that exist in the store
  std::map<DeviceId, std::uint64_t> given;      // times that a device was given the newest version to train
  std::optional<EvaluationState> evaluation;
  RoundTally tally;
  std::unique_ptr<Policy> policy;

  // Derived from spec.training.plan and the devices; rebuilt by load().
  std::vector<protocol::PlanRow> plans;
  DeviceSet idle;  // devices that are idle and have the memory for one of the plans; empty unless is_demanding()

  // Are there devices with too little memory for all of its plans?
  bool is_demanding() const { return plan_for(plans, 1) == std::nullopt; }
  bool may_work(const DeviceState& device) const { return plan_for(plans, device.facts.memory_budget).has_value(); }

  bool running() const { return status == JobStatus::kRunning; }
  // No new work is wanted: the last version is made or the job is being stopped.
  bool finishing() const { return stopping || version >= spec.rounds; }

  // `Archive` is Encoder or Decoder; the policy travels as bytes, and is null where these name none that there is.
  template <class A>
  void fields(A& a) {
    a(spec, status, reason, stopping, version, updates, fold, pending, policy_timers, versions, given, evaluation,
      tally);
    if constexpr (std::is_same_v<A, Encoder>) {
      policy->save(a);
    } else if (a.ok() && known(spec.policy)) {
      policy = make_policy(spec);
      policy->load(a);
    }
  }
};

struct Machine::State {
  Time now{};
  std::uint64_t next_assignment = 1;
  std::uint64_t turns = 0;  // rotates which job is served first
  bool storage_full = false;
  std::map<DeviceId, DeviceState> devices;
  std::map<AssignmentId, OpenAssignment> assignments;
  std::map<JobId, JobState> jobs;

  // Derived; rebuilt by load().
  enum class TimerKind : std::uint8_t { kPause, kLease, kPolicy, kEvaluation };
  struct Timer {
    Time at{};
    TimerKind kind{};
    JobId job;              // none for a pause
    std::uint64_t key = 0;  // device, assignment, policy key or 0
    auto operator<=>(const Timer&) const = default;
  };
  std::set<Timer> timers;
  DeviceSet idle;  // all devices that are
  const DeviceSet nobody{};

  const DeviceSet& idle_for(const JobState& job) const { return job.is_demanding() ? job.idle : idle; }

  template <class A>
  void fields(A& a) {
    a(now, next_assignment, turns, storage_full, devices, assignments, jobs);
  }
};

}  // namespace shoal::coordinator
