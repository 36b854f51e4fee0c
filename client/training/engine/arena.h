// One block of memory for all buffers of a tape: offsets chosen when it is compiled, so that the peak is known before
// the first step.
#pragma once

#include <cstddef>
#include <vector>

#include "client/training/engine/tape.h"

namespace shoal::client::training::engine {

inline constexpr std::size_t kBufferAlignment = 64;  // a cache line, and the widest vector

inline constexpr std::size_t aligned(std::size_t bytes) {
  return (bytes + kBufferAlignment - 1) / kBufferAlignment * kBufferAlignment;
}

struct Lifetime {
  std::size_t first = 0, last = 0;  // instructions, inclusive
};

struct ArenaPlan {
  std::vector<std::size_t> offsets;  // of every buffer
  std::vector<Lifetime> lifetimes;   // of every buffer
  std::size_t bytes = 0;             // of the whole arena
  std::size_t kept_bytes = 0;        // kept buffers come first, in the tape's order
  std::vector<std::size_t> live;     // bytes of all that lives at each instruction
  std::size_t live_bytes = 0;        // the most of them: no plan can be smaller
};

// Buffers that no instruction uses get no room unless they are kept. Deterministic.
ArenaPlan plan_arena(const Tape& tape);

}  // namespace shoal::client::training::engine
