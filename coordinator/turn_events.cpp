// The events, one function each: who is told, and what it means for the state.
#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "coordinator/turn.h"

namespace shoal::coordinator {

using protocol::Refusal;
using protocol::TaskKind;

namespace {

// What a device may say that it evaluated: no more examples than it announced and the job believes.
Refusal judge(const protocol::EvaluationFacts& said, const protocol::DeviceFacts& device, std::uint64_t max_samples) {
  if (said.samples == 0 || said.samples > std::min(device.test_samples, max_samples)) return Refusal::kSampleCount;
  if (said.correct > said.samples || !std::isfinite(said.loss_sum) || said.loss_sum < 0) return Refusal::kMalformed;
  return Refusal::kNone;
}

}  // namespace

Actions Turn::take(const Event& event) {
  std::visit([this](const auto& e) { on(e); }, event);
  if (offer_) offer_work();
  return std::move(actions_);
}

void Turn::on(const event::JobSubmitted& e) {
  SHOAL_CHECK(!s_.jobs.contains(e.job), "a job was submitted twice");
  JobState& job = s_.jobs[e.job];
  job.spec = e.spec;
  job.policy = make_policy(e.spec);
  job.versions.insert(0);
  job.plans = protocol::parse_plan_table(e.spec.training.plan).value();  // checked before it was submitted
  for (const auto& [id, device] : s_.devices) {
    if (job.is_demanding() && device.idle() && job.may_work(device)) job.idle.insert(id);
    if (device.online && !job.may_work(device)) pass_over(id, e.job, job);
  }
  forget_ended_jobs();  // here, since versions are dropped only by events that come with a model
  offer_ = true;
}

void Turn::on(const event::JobStopRequested& e) {
  const auto found = s_.jobs.find(e.job);
  if (found == s_.jobs.end() || !found->second.running()) return;
  found->second.stopping = true;
  finish_if_done(e.job, found->second);
}

void Turn::on(const event::DeviceReady& e) {
  DeviceState& device = s_.devices[e.device];
  device.facts = e.facts;
  device.online = true;
  set_idle(e.device, device.idle());
  for (const auto& [id, job] : s_.jobs)
    if (job.running() && !job.may_work(device)) pass_over(e.device, id, job);
  offer_ = true;
}

void Turn::on(const event::DeviceLost& e) {
  const auto found = s_.devices.find(e.device);
  if (found == s_.devices.end()) return;
  found->second.online = false;
  found->second.revoked |= e.revoked;
  set_idle(e.device, false);
  // A device that is merely away keeps its work until the lease ends: it may come back with the update.
  if (e.revoked && found->second.working) fail_assignment(found->second.working, Refusal::kRevoked, true);
}

void Turn::on(const event::UpdateReceived& e) {
  const auto found = s_.devices.find(e.device);
  SHOAL_CHECK(found != s_.devices.end(), "an update came from a device that was never ready");
  bool already = false;
  const Refusal refusal = admission(s_, found->second, e.assignment, e.facts, TaskKind::kTrain, &already);
  emit(action::Answer{e.device, e.assignment, refusal});
  if (already) return;
  if (refusal != Refusal::kNone) {
    // The body of a replayed or foreign assignment is not this device's to throw away: it may be pending.
    if (found->second.working != e.assignment) return;
    emit(action::Discard{{e.assignment}});
    const JobId id = s_.assignments.at(e.assignment).assignment.job;
    ++s_.jobs.at(id).tally.refused[refusal];
    fail_assignment(e.assignment, refusal, false);
    return;
  }
  const OpenAssignment open = end_assignment(e.assignment, e.facts.digest, Refusal::kNone);
  JobState& job = s_.jobs.at(open.assignment.job);
  const Entry entry{e.assignment, e.device, open.assignment.version, e.facts.samples, e.facts.steps, open.made, s_.now,
                    e.facts.loss, open.plan};
  job.pending.emplace(e.assignment, entry);
  // The receipt above was written before the policy spoke; apply() turns it into a refusal if the policy refuses.
  apply(open.assignment.job, job, job.policy->on_update(entry, view(job)));
}

void Turn::on(const event::EvaluationReceived& e) {
  const auto found = s_.devices.find(e.device);
  SHOAL_CHECK(found != s_.devices.end(), "an evaluation came from a device that was never ready");
  bool already = false;
  Refusal refusal = admission(s_, found->second, e.assignment, {}, TaskKind::kEvaluate, &already);
  if (refusal == Refusal::kNone && !already)
    refusal = judge(e.facts, found->second.facts, s_.assignments.at(e.assignment).assignment.max_samples);
  emit(action::Answer{e.device, e.assignment, refusal});
  if (already || found->second.working != e.assignment) return;
  if (refusal != Refusal::kNone) {
    fail_assignment(e.assignment, refusal, false);
    return;
  }
  const OpenAssignment open = end_assignment(e.assignment, {}, Refusal::kNone);
  JobState& job = s_.jobs.at(open.assignment.job);
  if (!job.evaluation || job.evaluation->outstanding.erase(e.assignment) == 0) return;
  EvaluationState& evaluation = *job.evaluation;
  ++evaluation.answered;
  evaluation.facts.samples += e.facts.samples;
  evaluation.facts.correct += e.facts.correct;
  evaluation.facts.loss_sum += e.facts.loss_sum;
  end_evaluation_if_done(open.assignment.job, job, false);
}

void Turn::on(const event::AssignmentFailed& e) {
  const auto found = s_.devices.find(e.device);
  if (found == s_.devices.end()) return;
  if (found->second.working != e.assignment || !e.assignment) {
    const bool known = e.assignment == found->second.last.assignment && found->second.last.refusal != Refusal::kNone;
    emit(action::Answer{e.device, e.assignment, known ? found->second.last.refusal : Refusal::kReplayed});
    return;
  }
  // A client's own failure is answered as the end of its round: it has nothing left to send.
  const Refusal refusal = e.refusal == Refusal::kNone ? Refusal::kRoundAbandoned : e.refusal;
  const JobId id = s_.assignments.at(e.assignment).assignment.job;
  if (e.refusal != Refusal::kNone) ++s_.jobs.at(id).tally.refused[refusal];
  emit(action::Answer{e.device, e.assignment, refusal});
  emit(action::Discard{{e.assignment}});
  fail_assignment(e.assignment, refusal, false);
}

void Turn::on(const event::Committed& e) {
  const auto found = s_.jobs.find(e.job);
  SHOAL_CHECK(found != s_.jobs.end() && found->second.fold && found->second.fold->version == e.version,
              "a fold was committed that was not asked for");
  JobState& job = found->second;
  for (const action::Fold::Entry& entry : job.fold->entries) job.pending.erase(entry.assignment);
  job.updates += job.fold->entries.size();
  job.fold.reset();
  job.version = e.version;
  job.versions.insert(e.version);
  job.given.clear();
  drop_versions(e.job, job);
  if (!job.finishing()) apply(e.job, job, job.policy->on_committed(view(job)));
  evaluate_if_due(e.job, job);
  finish_if_done(e.job, job);
  offer_ = true;
}

void Turn::on(const event::FoldFailed& e) {
  const auto found = s_.jobs.find(e.job);
  if (found == s_.jobs.end() || !found->second.fold) return;
  found->second.fold.reset();
  end_job(e.job, found->second, JobStatus::kFailed, e.reason);
}

void Turn::on(const event::StorageChanged& e) {
  s_.storage_full = e.full;
  offer_ = true;
}

void Turn::on(const event::Tick&) {
  using Kind = Machine::State::TimerKind;
  while (!s_.timers.empty() && s_.timers.begin()->at <= s_.now) {
    const Machine::State::Timer timer = *s_.timers.begin();
    s_.timers.erase(s_.timers.begin());
    if (timer.kind == Kind::kPause) {
      const DeviceId id{timer.key};
      DeviceState& device = s_.devices.at(id);
      device.idle_after.reset();
      set_idle(id, device.idle());
      continue;
    }
    if (timer.kind == Kind::kLease) {
      fail_assignment(AssignmentId{timer.key}, Refusal::kLeaseExpired, true);
      continue;
    }
    JobState& job = s_.jobs.at(timer.job);
    if (timer.kind == Kind::kEvaluation) {
      end_evaluation_if_done(timer.job, job, true);
    } else {
      job.policy_timers.erase(timer.key);
      apply(timer.job, job, job.policy->on_timer(timer.key, view(job)));
    }
  }
  offer_ = true;
}

}  // namespace shoal::coordinator
