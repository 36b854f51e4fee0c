// What the events have in common: assignments, folds, offers of work, evaluations and the end of jobs.
#include "coordinator/turn.h"

#include <algorithm>

#include "base/check.h"
#include "base/rng.h"
#include "coordinator/pause.h"

namespace shoal::coordinator {

using protocol::Refusal;
using protocol::TaskKind;
using TimerKind = Machine::State::TimerKind;

// ---- assignments ----

namespace {

// Of device and version, so that a plain training loop can draw the same batches; and of how often the device was given
// that version before, so that it never does the same work twice.
std::uint64_t training_seed(JobState& job, DeviceId device) {
  const std::uint64_t again = job.given[device]++;
  const std::uint64_t first = derive_seed(job.spec.seed, "train", device.value, job.version);
  return again == 0 ? first : derive_seed(first, "again", again);
}

}  // namespace

AssignmentId Turn::assign(JobId id, TaskKind kind, const Dispatch& dispatch) {
  JobState& job = s_.jobs.at(id);
  DeviceState& device = s_.devices.at(dispatch.device);
  SHOAL_CHECK(device.idle(), "work was assigned to a device that is not idle");
  OpenAssignment open;
  open.device = dispatch.device;
  open.made = s_.now;
  open.expires = saturating_add(s_.now, dispatch.lease);
  protocol::Assignment& a = open.assignment;
  a.id = AssignmentId{s_.next_assignment++};
  a.job = id;
  a.kind = kind;
  a.version = kind == TaskKind::kEvaluate ? job.evaluation->version : job.version;
  a.steps = dispatch.steps;
  if (kind == TaskKind::kTrain) a.seed = training_seed(job, dispatch.device);
  a.lease = dispatch.lease;
  a.training = job.spec.training;
  const std::size_t plan = plan_for(job.plans, device.facts.memory_budget).value_or(0);
  a.training.plan = job.plans[plan].plan;
  open.plan = static_cast<std::uint8_t>(plan);
  a.bound = job.spec.limits.update_bound;
  a.max_samples = job.spec.limits.max_samples;
  a.max_updates = max_updates(job.spec);
  device.working = a.id;
  set_idle(dispatch.device, false);
  s_.timers.insert({open.expires, TimerKind::kLease, id, a.id.value});
  emit(action::Assign{dispatch.device, a});
  return s_.assignments.emplace(a.id, std::move(open)).first->first;
}

OpenAssignment Turn::end_assignment(AssignmentId id, const Digest& digest, Refusal refusal) {
  const auto found = s_.assignments.find(id);
  SHOAL_CHECK(found != s_.assignments.end(), "an assignment ended twice");
  OpenAssignment open = std::move(found->second);
  s_.assignments.erase(found);
  s_.timers.erase({open.expires, TimerKind::kLease, open.assignment.job, id.value});
  DeviceState& device = s_.devices.at(open.device);
  device.working = {};
  device.last = {id, digest, refusal};
  if (refusal == Refusal::kNone) device.failures = 0;
  set_idle(open.device, device.idle());
  offer_ = true;
  return open;
}

void Turn::fail_assignment(AssignmentId id, Refusal refusal, bool told) {
  const OpenAssignment open = end_assignment(id, {}, refusal);
  pause(open.device);
  const JobId job_id = open.assignment.job;
  JobState& job = s_.jobs.at(job_id);
  if (told) emit(action::Revoke{open.device, id, refusal});
  if (open.assignment.kind == TaskKind::kEvaluate) {
    if (job.evaluation && job.evaluation->outstanding.erase(id) > 0) end_evaluation_if_done(job_id, job, false);
    return;
  }
  ++job.tally.failed;
  apply(job_id, job, job.policy->on_failure(id, open.device, view(job)));
}

void Turn::pause(DeviceId id) {
  DeviceState& device = s_.devices.at(id);
  device.idle_after = saturating_add(s_.now, pause_after(++device.failures));
  s_.timers.insert({*device.idle_after, TimerKind::kPause, {}, id.value});
  set_idle(id, false);
}

void Turn::set_idle(DeviceId id, bool idle) {
  const auto list = [id](DeviceSet& set, bool listed) {
    if (listed) {
      set.insert(id);
    } else {
      set.erase(id);
    }
  };
  list(s_.idle, idle);
  for (auto& [job_id, job] : s_.jobs)
    if (job.is_demanding()) list(job.idle, idle && job.may_work(s_.devices.at(id)));
}

void Turn::pass_over(DeviceId device, JobId id, const JobState& job) {
  const auto least = std::ranges::min_element(job.plans, {}, &protocol::PlanRow::memory);
  emit(action::PassOver{device, id, least->plan, least->memory.count});
}

// ---- jobs ----

PolicyView Turn::view(const JobState& job) const {
  const bool may_assign = job.running() && !job.finishing() && !s_.storage_full;
  return {s_.now, job.version, job.fold.has_value(), may_assign ? s_.idle_for(job) : s_.nobody};
}

void Turn::apply(JobId id, JobState& job, Decisions d) {
  for (const auto& [assignment, refusal] : d.refuse) {
    const auto entry = job.pending.find(assignment);
    SHOAL_CHECK(entry != job.pending.end(), "a policy refused an update that it does not have");
    const DeviceId device = entry->second.device;
    job.pending.erase(entry);
    ++job.tally.refused[refusal];
    emit(action::Discard{{assignment}});
    // The update that this turn is about gets the refusal as its answer; older ones already have their receipt.
    LastAnswer& last = s_.devices.at(device).last;
    for (Action& action : actions_)
      if (auto* answer = std::get_if<action::Answer>(&action); answer != nullptr && answer->assignment == assignment) {
        answer->refusal = refusal;
        if (last.assignment == assignment) last.refusal = refusal;
      }
  }
  for (const auto& [assignment, refusal] : d.revoke) {
    const OpenAssignment open = end_assignment(assignment, {}, refusal);
    emit(action::Revoke{open.device, assignment, refusal});
  }
  // A job that only waits for its last evaluation makes no further version, whatever still arrives.
  if (d.fold && !job.finishing()) start_fold(id, job, *d.fold);
  if (d.abandoned) {
    emit(action::RoundClosed{id, 0, static_cast<std::uint32_t>(job.pending.size()), job.tally.failed, 0,
                             job.tally.refused, 0, 0});
    job.tally = {};
  }
  if (d.opened)
    emit(action::RoundOpened{id, job.version, static_cast<std::uint32_t>(d.assign.size()),
                             static_cast<std::uint32_t>(s_.idle_for(job).size())});
  for (const Dispatch& dispatch : d.assign)
    job.policy->on_assigned(assign(id, TaskKind::kTrain, dispatch), dispatch, view(job));
  for (std::uint64_t key : d.cancel) {
    const auto timer = job.policy_timers.find(key);
    if (timer == job.policy_timers.end()) continue;
    s_.timers.erase({timer->second, TimerKind::kPolicy, id, key});
    job.policy_timers.erase(timer);
  }
  for (const PolicyTimer& timer : d.set) {
    const auto [slot, fresh] = job.policy_timers.emplace(timer.key, timer.at);
    if (!fresh) s_.timers.erase({slot->second, TimerKind::kPolicy, id, timer.key});
    slot->second = timer.at;
    s_.timers.insert({timer.at, TimerKind::kPolicy, id, timer.key});
  }
}

void Turn::start_fold(JobId id, JobState& job, const Aggregate& aggregate) {
  SHOAL_CHECK(!job.fold, "a policy asked for a second fold at a time");
  SHOAL_CHECK(!aggregate.entries.empty() && aggregate.entries.size() <= max_updates(job.spec),
              "a fold has no entries or more than the job announced");
  action::Fold fold{id, job.version + 1, {}, aggregate.scale};
  action::RoundClosed closed{id,
                             fold.version,
                             static_cast<std::uint32_t>(aggregate.entries.size()),
                             job.tally.failed,
                             aggregate.outstanding,
                             job.tally.refused,
                             0,
                             0};
  double samples = 0;
  for (const WeightedEntry& e : aggregate.entries) {
    const auto entry = job.pending.find(e.assignment);
    SHOAL_CHECK(entry != job.pending.end(), "a policy folded an update that it does not have");
    fold.entries.push_back({e.assignment, aggregation::Weight::nearest(e.weight), entry->second.plan});
    const double n = static_cast<double>(entry->second.samples);
    samples += n;
    closed.mean_loss += n * entry->second.loss;
    closed.mean_staleness += static_cast<double>(job.version - entry->second.base);
  }
  closed.mean_loss /= samples;
  closed.mean_staleness /= static_cast<double>(aggregate.entries.size());
  job.tally = {};
  job.fold = fold;
  emit(std::move(closed));
  emit(std::move(fold));
}

void Turn::offer_work() {
  ++s_.turns;
  const std::size_t n = s_.jobs.size();
  if (n == 0 || s_.storage_full) return;
  auto it = std::next(s_.jobs.begin(), static_cast<std::ptrdiff_t>(s_.turns % n));
  for (std::size_t i = 0; i < n; ++i, ++it) {
    if (it == s_.jobs.end()) it = s_.jobs.begin();
    auto& [id, job] = *it;
    if (!job.running()) continue;
    serve_evaluation(id, job);
    if (!job.finishing()) apply(id, job, job.policy->on_idle(view(job)));
  }
}

void Turn::drop_versions(JobId id, JobState& job) {
  std::set<Version> needed;
  for (const auto& [assignment, open] : s_.assignments)
    if (open.assignment.job == id) needed.insert(open.assignment.version);
  if (job.evaluation) needed.insert({job.evaluation->version, job.evaluation->next.value_or(job.version)});
  action::DropVersions drop{id, {}};
  for (Version version : job.versions)
    if (version + job.spec.keep_versions <= job.version && !needed.contains(version)) drop.versions.push_back(version);
  for (Version version : drop.versions) job.versions.erase(version);
  if (!drop.versions.empty()) emit(std::move(drop));
}

void Turn::finish_if_done(JobId id, JobState& job) {
  if (!job.running() || !job.finishing() || job.fold) return;
  if (!job.stopping && job.evaluation) return;  // the last model's evaluation is under way, bounded by its lease
  if (job.version >= job.spec.rounds) {
    end_job(id, job, JobStatus::kCompleted, "all rounds are done");
  } else {
    end_job(id, job, JobStatus::kStopped, "stopped by the operator");
  }
}

// The oldest ones, so that the state, its snapshots and the model files do not grow with the jobs of years.
void Turn::forget_ended_jobs() {
  auto ended = static_cast<std::size_t>(
      std::count_if(s_.jobs.begin(), s_.jobs.end(), [](const auto& job) { return !job.second.running(); }));
  for (auto it = s_.jobs.begin(); ended > kEndedJobsKept;) {
    if (it->second.running()) {
      ++it;
      continue;
    }
    emit(action::DropVersions{it->first, {it->second.versions.begin(), it->second.versions.end()}});
    it = s_.jobs.erase(it);
    --ended;
  }
}

void Turn::end_job(JobId id, JobState& job, JobStatus status, std::string reason) {
  job.status = status;
  job.reason = std::move(reason);
  std::vector<AssignmentId> open;
  for (const auto& [assignment, o] : s_.assignments)
    if (o.assignment.job == id) open.push_back(assignment);
  for (AssignmentId assignment : open) {
    const OpenAssignment ended = end_assignment(assignment, {}, Refusal::kJobEnded);
    emit(action::Revoke{ended.device, assignment, Refusal::kJobEnded});
  }
  action::Discard discard;
  for (const auto& [assignment, entry] : job.pending) discard.assignments.push_back(assignment);
  if (!discard.assignments.empty()) emit(std::move(discard));
  job.pending.clear();
  job.given.clear();
  for (const auto& [key, at] : job.policy_timers) s_.timers.erase({at, TimerKind::kPolicy, id, key});
  job.policy_timers.clear();
  if (job.evaluation) s_.timers.erase({job.evaluation->give_up, TimerKind::kEvaluation, id, 0});
  job.evaluation.reset();
  job.policy = make_policy(job.spec);  // its buffers are of no more use
  emit(action::JobEnded{id, job.status, job.reason});
}

// ---- evaluations ----

void Turn::evaluate_if_due(JobId id, JobState& job) {
  const EvaluationOptions& options = job.spec.evaluation;
  if (options.every == 0 || (job.version % options.every != 0 && job.version < job.spec.rounds)) return;
  if (job.evaluation) {
    job.evaluation->next = job.version;  // one that waited before it is skipped: the newest one matters, and the last
  } else {
    begin_evaluation(id, job, job.version);
  }
}

void Turn::begin_evaluation(JobId id, JobState& job, Version version) {
  if (job.stopping) return;
  const auto able = std::count_if(s_.devices.begin(), s_.devices.end(), [&](const auto& d) {
    return d.second.online && !d.second.revoked && d.second.facts.test_samples > 0 && job.may_work(d.second);
  });
  if (able == 0) return;
  EvaluationState evaluation;
  evaluation.version = version;
  evaluation.wanted = std::min(job.spec.evaluation.devices, static_cast<std::uint32_t>(able));
  evaluation.give_up = saturating_add(s_.now, job.spec.evaluation.lease);
  s_.timers.insert({evaluation.give_up, TimerKind::kEvaluation, id, 0});
  job.evaluation = std::move(evaluation);
  serve_evaluation(id, job);
}

void Turn::serve_evaluation(JobId id, JobState& job) {
  if (!job.evaluation || job.evaluation->wanted == 0 || s_.storage_full) return;
  EvaluationState& evaluation = *job.evaluation;
  std::vector<DeviceId> able;
  for (DeviceId d : s_.idle_for(job))
    if (s_.devices.at(d).facts.test_samples > 0 && !evaluation.asked.contains(d)) able.push_back(d);
  Stream draw(job.spec.seed, "evaluation", evaluation.version, evaluation.asked.size());
  const std::size_t n = std::min<std::size_t>(able.size(), evaluation.wanted);
  for (std::uint64_t i : draw.sample(able.size(), n)) {
    evaluation.outstanding.insert(assign(id, TaskKind::kEvaluate, {able[i], 0, evaluation.give_up - s_.now}));
    evaluation.asked.insert(able[i]);
    --evaluation.wanted;
  }
}

void Turn::end_evaluation_if_done(JobId id, JobState& job, bool out_of_time) {
  if (!job.evaluation) return;
  EvaluationState& evaluation = *job.evaluation;
  if (!out_of_time && (evaluation.wanted > 0 || !evaluation.outstanding.empty())) return;
  s_.timers.erase({evaluation.give_up, TimerKind::kEvaluation, id, 0});
  const std::set<AssignmentId> outstanding = std::move(evaluation.outstanding);
  const std::optional<Version> next = evaluation.next;
  emit(action::Evaluated{id, evaluation.version, evaluation.answered, evaluation.facts});
  job.evaluation.reset();
  for (AssignmentId assignment : outstanding) fail_assignment(assignment, Refusal::kLeaseExpired, true);
  if (next) begin_evaluation(id, job, *next);
  finish_if_done(id, job);
  offer_ = true;
}

}  // namespace shoal::coordinator
