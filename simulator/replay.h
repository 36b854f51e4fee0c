// Replays what a live coordinator journaled, and compares: the same events must give the same actions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "coordinator/machine.h"
#include "coordinator/store.h"

namespace shoal::simulator {

// The first event that gave other actions than it gave live.
struct ReplayDifference {
  std::uint64_t sequence = 0;
  Time at{};
  std::string event;                         // its kind: "UpdateReceived"
  std::uint64_t recorded = 0, replayed = 0;  // hashes of the actions
};

// Feed it the snapshot, then the records in order. After a difference everything else is ignored.
class Replay {
 public:
  // `snapshot` empty: from nothing. kCorrupt when it is not one of this build's.
  Status begin(std::string_view snapshot, std::uint64_t sequence);
  // kCorrupt when records are missing between this one and the one before.
  Status step(const coordinator::JournalRecord& record);

  std::uint64_t events() const { return events_; }
  const std::optional<ReplayDifference>& difference() const { return difference_; }
  const coordinator::Machine& machine() const { return machine_; }

 private:
  coordinator::Machine machine_;
  std::uint64_t sequence_ = 0;
  std::uint64_t events_ = 0;
  std::optional<ReplayDifference> difference_;
};

// The kind of an event as people know it.
std::string_view kind_of(const coordinator::Event& event);

}  // namespace shoal::simulator
