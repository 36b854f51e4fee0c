// The virtual world's agenda: what happens when, in the order (time, sequence), so that equal times keep their order of
// entry.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/ids.h"
#include "base/time.h"

namespace shoal::simulator {

// What happens to a device. `ticket` says which of its plans this belongs to; a device that changed its plan has
// another ticket, and the occurrence is void.
struct Occurrence {
  enum class Kind : std::uint8_t { kComesOnline, kGoesOffline, kVanishes, kReturns, kDelivers };

  Time at{};
  std::uint64_t sequence = 0;
  DeviceId device;
  std::uint32_t ticket = 0;
  Kind kind = Kind::kDelivers;

  template <class Archive>
  void fields(Archive& a) {
    a(at, sequence, device, ticket, kind);
  }
};

// A binary heap; 40 bytes an occurrence.
class EventQueue {
 public:
  void push(Occurrence occurrence) {
    occurrence.sequence = ++sequence_;
    heap_.push_back(occurrence);
    std::push_heap(heap_.begin(), heap_.end(), later);
  }
  bool empty() const { return heap_.empty(); }
  Time next() const { return heap_.empty() ? kNever : heap_.front().at; }
  Occurrence pop() {
    std::pop_heap(heap_.begin(), heap_.end(), later);
    const Occurrence first = heap_.back();
    heap_.pop_back();
    return first;
  }

  template <class Archive>
  void fields(Archive& a) {
    a(sequence_, heap_);
  }

 private:
  static bool later(const Occurrence& a, const Occurrence& b) {
    return a.at != b.at ? a.at > b.at : a.sequence > b.sequence;
  }

  std::vector<Occurrence> heap_;
  std::uint64_t sequence_ = 0;
};

}  // namespace shoal::simulator
