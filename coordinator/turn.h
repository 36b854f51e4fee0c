// One turn of the machine: applies one event to the state, asks the policies, collects the actions. Private to the
// machine.
#pragma once

#include "coordinator/machine_state.h"

namespace shoal::coordinator {

// What an update or evaluation for `assignment` is answered. `*already` is set when the answer was given before.
protocol::Refusal admission(const Machine::State& state, const DeviceState& device, AssignmentId assignment,
                            const protocol::UpdateFacts& facts, protocol::TaskKind kind, bool* already);

class Turn {
 public:
  explicit Turn(Machine::State& state) : s_(state) {}

  Actions take(const Event& event);

 private:
  // events (turn_events.cpp)
  void on(const event::JobSubmitted& e);
  void on(const event::JobStopRequested& e);
  void on(const event::DeviceReady& e);
  void on(const event::DeviceLost& e);
  void on(const event::UpdateReceived& e);
  void on(const event::EvaluationReceived& e);
  void on(const event::AssignmentFailed& e);
  void on(const event::Committed& e);
  void on(const event::FoldFailed& e);
  void on(const event::StorageChanged& e);
  void on(const event::Tick& e);

  // assignments
  AssignmentId assign(JobId job, protocol::TaskKind kind, const Dispatch& dispatch);
  // Ends an open assignment: its device becomes idle and remembers the answer.
  OpenAssignment end_assignment(AssignmentId id, const Digest& digest, protocol::Refusal refusal);
  // Ends it without what it asked for, by its device's fault: the device pauses, the policy or the evaluation is told.
  // `told` = the device gets a Revoke.
  void fail_assignment(AssignmentId id, protocol::Refusal refusal, bool told);
  void pause(DeviceId id);
  void set_idle(DeviceId id, bool idle);
  void pass_over(DeviceId device, JobId id, const JobState& job);

  // jobs
  PolicyView view(const JobState& job) const;
  void apply(JobId id, JobState& job, Decisions decisions);
  void start_fold(JobId id, JobState& job, const Aggregate& aggregate);
  void offer_work();
  void drop_versions(JobId id, JobState& job);
  void finish_if_done(JobId id, JobState& job);
  void forget_ended_jobs();
  void end_job(JobId id, JobState& job, JobStatus status, std::string reason);

  // evaluations
  void evaluate_if_due(JobId id, JobState& job);
  void begin_evaluation(JobId id, JobState& job, Version version);
  void serve_evaluation(JobId id, JobState& job);
  void end_evaluation_if_done(JobId id, JobState& job, bool out_of_time);

  template <class A>
  void emit(A action) {
    actions_.push_back(std::move(action));
  }

  Machine::State& s_;
  Actions actions_;
  bool offer_ = false;  // something may have made work possible
};

}  // namespace shoal::coordinator
