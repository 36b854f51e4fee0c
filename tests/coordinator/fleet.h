// A little fleet for tests of the machine: devices that answer after seeded delays, in virtual time, with chosen
// misbehaviour.
#pragma once

#include <map>
#include <queue>
#include <set>
#include <string>
#include <vector>

#include "base/rng.h"
#include "coordinator/durable_machine.h"
#include "coordinator/machine.h"

namespace shoal::coordinator::testing {

struct FleetOptions {
  std::uint64_t seed = 1;
  std::uint64_t devices = 12;
  std::uint64_t broken = 0;                 // devices, the first ones, whose every assignment fails at once
  double fail = 0;                          // chance that an assignment fails
  double vanish = 0;                        // chance that the device goes away and comes back later, its work lost
  double slow = 0;                          // chance that an answer takes a hundred times as long
  double duplicate = 0;                     // chance that an update is sent twice
  bool reload = false;                      // the machine goes through save() and load() before every step
  std::vector<std::uint64_t> budgets = {};  // bytes, of devices in turn; none: not stated
  Duration evaluation{};                    // how long one takes; 0: as long as training
  Time until = kNever;                      // run() ends there
};

inline JobSpec spec_of(PolicyKind policy, std::uint64_t rounds = 20) {
  JobSpec spec;
  spec.name = "test";
  spec.policy = policy;
  spec.rounds = rounds;
  spec.fedavg.cohort = 5;
  spec.fedbuff.concurrency = 6;
  spec.fedbuff.buffer = 3;
  spec.fedcompass.devices = 5;
  spec.limits.max_samples = 1000;
  return spec;
}

// Drives one machine. Everything that it learns is public for the test to judge.
class Fleet {
 public:
  explicit Fleet(FleetOptions options) : options_(options), draw_(options.seed, "fleet") {}

  // Submits the job and runs until it ends or `limit` events were stepped. Every device is ready first.
  void run(const JobSpec& spec, std::uint64_t limit = 200000) {
    for (std::uint64_t d = 1; d <= options_.devices; ++d) step(event::DeviceReady{DeviceId{d}, facts(DeviceId{d})});
    step(event::JobSubmitted{JobId{1}, spec});
    run_on(limit);
  }
  void run_on(std::uint64_t limit = 200000) {
    while (!ended && events < limit) {
      const Time timer = machine.next_timer();
      if (queue_.empty() && timer == kNever) break;
      if (std::min(timer, queue_.empty() ? kNever : queue_.top().at) > options_.until) break;
      if (queue_.empty() || timer <= queue_.top().at) {
        now_ = std::max(now_, timer);
        step(event::Tick{});
        continue;
      }
      const Arrival arrival = queue_.top();
      queue_.pop();
      now_ = std::max(now_, arrival.at);
      step(arrival.event);
    }
  }

  // The test's own event, now.
  Actions step(const Event& event) {
    if (options_.reload) {
      const std::string state = machine.save();
      machine = Machine::load(state).value();
      if (machine.save() != state) problems.push_back("save and load do not give the same state");
    }
    ++events;
    const Actions actions = machine.step(event, now_);
    for (const std::string& problem : machine.broken_invariants()) problems.push_back(problem);
    trace = trace * 1099511628211u ^ hash_of(actions);
    for (const Action& action : actions) std::visit([this](const auto& a) { on(a); }, action);
    return actions;
  }

  Time now() const { return now_; }
  void wait(Duration d) { now_ += d; }

  Machine machine;
  std::uint64_t events = 0, trace = 0;
  std::vector<std::string> problems;
  std::map<AssignmentId, int> receipts;  // by assignment
  std::map<AssignmentId, int> folded;
  std::set<AssignmentId> discarded;
  std::map<protocol::Refusal, int> refusals, revocations;
  std::vector<action::RoundOpened> opened;
  std::vector<action::RoundClosed> closed;
  std::vector<action::Fold> folds;
  std::vector<action::Evaluated> evaluated;
  std::vector<protocol::Assignment> assigned;
  std::map<DeviceId, std::vector<AssignmentId>> given;
  std::map<DeviceId, std::set<std::string>> plans;  // that a device was asked to train
  std::vector<action::PassOver> passed_over;
  std::set<Version> dropped;
  std::optional<action::JobEnded> ended;
  std::uint64_t max_outstanding = 0;

 private:
  struct Arrival {
    Time at{};
    std::uint64_t order = 0;
    Event event;
    bool operator<(const Arrival& other) const { return std::tie(at, order) > std::tie(other.at, other.order); }
  };

  protocol::DeviceFacts facts(DeviceId device) const {
    const auto& budgets = options_.budgets;
    return {100, 20, budgets.empty() ? 0 : budgets[(device.value - 1) % budgets.size()]};
  }
  void later(Duration d, Event event) { queue_.push({now_ + d, order_++, std::move(event)}); }

  void on(const action::Assign& a) {
    assigned.push_back(a.assignment);
    given[a.device].push_back(a.assignment.id);
    plans[a.device].insert(a.assignment.training.plan);
    if (auto job = machine.job(a.assignment.job))
      max_outstanding = std::max<std::uint64_t>(max_outstanding, job->outstanding);
    Duration takes = from_seconds(1 + draw_.uniform() * 9);
    if (draw_.uniform() < options_.slow) takes *= 100;
    const AssignmentId id = a.assignment.id;
    if (a.device.value <= options_.broken) return later({}, event::AssignmentFailed{a.device, id, {}, "broken"});
    if (a.assignment.kind == protocol::TaskKind::kEvaluate && options_.evaluation > Duration::zero())
      takes = options_.evaluation;
    if (draw_.uniform() < options_.fail) return later(takes, event::AssignmentFailed{a.device, id, {}, "out of luck"});
    if (draw_.uniform() < options_.vanish) {
      later(takes, event::DeviceLost{a.device, false});
      return later(takes * 3, event::DeviceReady{a.device, facts(a.device)});
    }
    if (a.assignment.kind == protocol::TaskKind::kEvaluate)
      return later(takes, event::EvaluationReceived{a.device, id, {20, 15, 10.0}});
    const std::uint64_t steps = a.assignment.steps > 0 ? a.assignment.steps : 5;
    const Event update = event::UpdateReceived{a.device, id, update_facts(a.device, id, steps)};
    later(takes, update);
    if (draw_.uniform() < options_.duplicate) later(takes * 2, update);
  }
  static protocol::UpdateFacts update_facts(DeviceId device, AssignmentId id, std::uint64_t steps) {
    protocol::UpdateFacts f;
    f.digest.bytes[0] = 1;
    f.digest.bytes[1] = static_cast<std::uint8_t>(id.value);
    f.samples = 50 + device.value;
    f.steps = steps;
    f.loss = 0.5;
    return f;
  }
  void on(const action::Answer& a) {
    if (a.refusal == protocol::Refusal::kNone)
      ++receipts[a.assignment];
    else
      ++refusals[a.refusal];
  }
  void on(const action::Revoke& a) { ++revocations[a.refusal]; }
  void on(const action::Fold& a) {
    folds.push_back(a);
    for (const auto& entry : a.entries) ++folded[entry.assignment];
    later(from_seconds(0.1), event::Committed{a.job, a.version, {}, 1.0});
  }
  void on(const action::Discard& a) { discarded.insert(a.assignments.begin(), a.assignments.end()); }
  void on(const action::DropVersions& a) { dropped.insert(a.versions.begin(), a.versions.end()); }
  void on(const action::JobEnded& a) { ended = a; }
  void on(const action::PassOver& a) { passed_over.push_back(a); }
  void on(const action::RoundOpened& a) { opened.push_back(a); }
  void on(const action::RoundClosed& a) { closed.push_back(a); }
  void on(const action::Evaluated& a) { evaluated.push_back(a); }

  FleetOptions options_;
  Stream draw_;
  Time now_{};
  std::uint64_t order_ = 0;
  std::priority_queue<Arrival> queue_;
};

}  // namespace shoal::coordinator::testing
