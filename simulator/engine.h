// The virtual world: drives the coordinator's machine with virtual devices, a virtual network and virtual time.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "coordinator/machine.h"
#include "simulator/device.h"
#include "simulator/event_queue.h"
#include "simulator/learning.h"
#include "simulator/population.h"

namespace shoal::simulator {

// One committed version: a line of metrics.jsonl.
struct RoundRecord {
  std::uint64_t round = 0;  // closed so far, the abandoned ones included
  Version version = 0;
  Time at{};         // virtual
  Traffic bytes;     // since the record before
  Traffic total;     // since the beginning
  double steps = 0;  // local steps made since the record before, wasted ones included
  std::uint32_t received = 0, failed = 0, outstanding = 0;
  std::map<protocol::Refusal, std::uint32_t> refused;
  double train_loss = 0;                          // mean over the folded updates
  double staleness = 0;                           // versions, mean over the folded updates
  double norm = 0;                                // L2, of the model's change
  Digest digest;                                  // of the model
  std::optional<protocol::EvaluationFacts> test;  // central test set
  std::optional<protocol::EvaluationFacts>
      devices;  // test splits on devices, of an evaluation that ended in this round

  std::uint32_t refusals() const {
    std::uint32_t n = 0;
    for (const auto& [refusal, count] : refused) n += count;
    return n;
  }
};

// What the engine tells while it runs.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual Status on_round(const RoundRecord& record) = 0;
  virtual void on_opened(Time at, const coordinator::action::RoundOpened& round) = 0;
  virtual void on_abandoned(Time at, const coordinator::action::RoundClosed& round) = 0;
};

struct EngineOptions {
  coordinator::JobSpec job;
  std::uint32_t evaluate_every = 1;  // versions; 0: never
};

// Deterministic: equal options, population and learning give equal records. One owner thread.
class Engine {
 public:
  // The references must outlive the engine.
  Engine(const EngineOptions& options, const Population& population, Learning& learning, Observer& observer);

  // The devices arrive and the job is submitted; or load() instead.
  Status begin();
  // The next thing that happens. kFailed when nothing can happen any more although the job has not ended.
  Status turn();
  // Set once the job has ended.
  const std::optional<coordinator::action::JobEnded>& ended() const { return ended_; }

  Time now() const { return now_; }
  Version version() const { return version_; }
  std::uint64_t events() const { return events_; }  // stepped through the machine
  Traffic total() const { return total_; }
  // Local steps made, as a share of what the whole fleet could have made until now.
  double utilisation() const;
  const coordinator::Machine& machine() const { return machine_; }

  // Between any two turns; continues with the same bits. load() on a fresh engine; kCorrupt.
  void save(Encoder& encoder) const;
  Status load(Decoder& decoder);

 private:
  // A device is reachable when its period is an online one and it has not dropped out.
  struct DeviceState {
    std::uint32_t ticket = 0;  // of its plan
    std::uint32_t period = 0;  // of its availability
    bool present = true;
    bool away = false;
    bool reachable() const { return present && !away; }
    template <class A>
    void fields(A& a) {
      a(ticket, period, present, away);
    }
  };

  Status feed(coordinator::Event event);
  Status carry(const coordinator::Action& action);
  Status carry_assign(const coordinator::action::Assign& action);
  void carry_revoke(const coordinator::action::Revoke& action);
  Status carry_fold(const coordinator::action::Fold& fold);
  Status finish_record();

  Status occur(const Occurrence& occurrence);
  Status arrive(DeviceId device);
  Status leave(DeviceId device);
  Status vanish(DeviceId device);
  Status deliver(DeviceId device);
  Status deliver_update(DeviceId device, const Work& work);

  DeviceState& state(DeviceId device) { return devices_[device.value - 1]; }
  void next_period(DeviceId device);
  void schedule(DeviceId device, const Work& work);
  void abandon(DeviceId device);  // drops the work in hand, if any
  void account(const Work& work);

  EngineOptions options_;
  const Population& population_;
  Learning& learning_;
  Observer& observer_;
  double capacity_ = 0;  // local steps a second of the whole fleet

  coordinator::Machine machine_;
  EventQueue queue_;
  Time now_{};
  std::vector<DeviceState> devices_;
  std::map<DeviceId, Work> works_;
  std::set<AssignmentId> void_;             // the coordinator has closed them, the device does not know yet
  std::deque<coordinator::Event> pending_;  // to be stepped within this turn
  RoundRecord record_;                      // being made
  bool record_ready_ = false;               // its version is folded; only within a turn
  std::uint64_t rounds_ = 0, events_ = 0;
  Version version_ = 0;
  Traffic total_;
  double steps_ = 0;
  std::optional<coordinator::action::JobEnded> ended_;
};

}  // namespace shoal::simulator
