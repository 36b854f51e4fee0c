#include "client/training/engine/arena.h"

#include <algorithm>
#include <functional>
#include <numeric>

namespace shoal::client::training::engine {
namespace {

constexpr std::size_t kUnused = SIZE_MAX;

bool overlap(const Lifetime& a, const Lifetime& b) { return a.first <= b.last && b.first <= a.last; }

std::vector<Lifetime> lifetimes_of(const Tape& tape) {
  std::vector<Lifetime> lifetimes(tape.buffers().size(), {kUnused, 0});
  for (BufferId b = 0; b < lifetimes.size(); ++b)
    if (tape.buffers()[b].life == Life::kInput) lifetimes[b].first = 0;
  for (std::size_t i = 0; i < tape.instructions().size(); ++i)
    for (const BufferId buffer : tape.instructions()[i].uses) {
      lifetimes[buffer].first = std::min(lifetimes[buffer].first, i);
      lifetimes[buffer].last = i;
    }
  return lifetimes;
}

// Each buffer at the lowest place where it fits between those that live at the same time (Pisarchyk and Lee 2020).
class Placement {
 public:
  explicit Placement(std::size_t begin) : begin_(begin), end_(begin) {}

  std::size_t place(std::size_t bytes, const Lifetime& lifetime) {
    std::size_t at = begin_;
    for (const Block& block : blocks_) {  // sorted by offset
      if (!overlap(block.lifetime, lifetime)) continue;
      if (block.offset >= at + bytes) break;
      at = std::max(at, block.offset + block.bytes);
    }
    const auto before = std::ranges::upper_bound(blocks_, at, {}, &Block::offset);
    blocks_.insert(before, {at, bytes, lifetime});
    end_ = std::max(end_, at + bytes);
    return at;
  }
  std::size_t end() const { return end_; }

 private:
  struct Block {
    std::size_t offset, bytes;
    Lifetime lifetime;
  };
  std::size_t begin_, end_;
  std::vector<Block> blocks_;
};

}  // namespace

ArenaPlan plan_arena(const Tape& tape) {
  const auto buffers = tape.buffers();
  ArenaPlan plan;
  plan.lifetimes = lifetimes_of(tape);
  plan.offsets.resize(buffers.size());
  std::vector<BufferId> transient;
  for (BufferId b = 0; b < buffers.size(); ++b) {
    if (buffers[b].life == Life::kKept) {
      plan.offsets[b] = plan.kept_bytes;
      plan.kept_bytes += aligned(buffers[b].bytes);
    } else if (plan.lifetimes[b].first != kUnused) {
      transient.push_back(b);
    }
  }
  // Changes at each instruction first, then their sums; these wrap and come back.
  std::vector<std::size_t>& live = plan.live;
  live.resize(tape.instructions().size() + 1);
  for (const BufferId b : transient) {
    live[plan.lifetimes[b].first] += aligned(buffers[b].bytes);
    live[plan.lifetimes[b].last + 1] -= aligned(buffers[b].bytes);
  }
  live.front() += plan.kept_bytes;
  std::partial_sum(live.begin(), live.end(), live.begin());
  plan.live_bytes = *std::ranges::max_element(live);

  // No order is the best for all; the first is for most.
  const auto bytes = [&](BufferId b) { return buffers[b].bytes; };
  const auto span = [&](BufferId b) { return plan.lifetimes[b].last - plan.lifetimes[b].first + 1; };
  const auto first = [&](BufferId b) { return plan.lifetimes[b].first; };
  const std::function<bool(BufferId, BufferId)> orders[] = {
      [&](BufferId a, BufferId b) { return bytes(a) > bytes(b); },
      [&](BufferId a, BufferId b) { return bytes(a) * span(a) > bytes(b) * span(b); },
      [&](BufferId a, BufferId b) { return span(a) > span(b); },
      [&](BufferId a, BufferId b) { return first(a) < first(b); },
  };
  for (const auto& before : orders) {
    std::ranges::stable_sort(transient, before);
    Placement placement(plan.kept_bytes);
    std::vector<std::size_t> offsets = plan.offsets;
    for (const BufferId b : transient) offsets[b] = placement.place(aligned(buffers[b].bytes), plan.lifetimes[b]);
    if (plan.bytes != 0 && placement.end() >= plan.bytes) continue;
    plan.offsets = std::move(offsets);
    plan.bytes = placement.end();
  }
  return plan;
}

}  // namespace shoal::client::training::engine
