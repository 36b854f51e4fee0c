#include "coordinator/fedbuff.h"

#include <algorithm>

#include "base/rng.h"

namespace shoal::coordinator {
namespace {

using protocol::Refusal;

constexpr Duration kFirstLease = std::chrono::hours(1);  // nothing is known about the devices yet
constexpr Duration kShortestLease = std::chrono::minutes(1);
constexpr Duration kLongestLease = std::chrono::hours(24);
constexpr int kLeaseMargin = 10;  // times what the slowest recent device took

}  // namespace

Decisions FedBuff::on_idle(const PolicyView& view) {
  Decisions decisions;
  if (state_.training.size() >= spec_.fedbuff.concurrency || view.idle.empty()) return decisions;
  const std::size_t free = spec_.fedbuff.concurrency - state_.training.size();
  const Duration lease =
      state_.slowest == Duration::zero()
          ? kFirstLease
          : std::clamp(std::min(state_.slowest, kLongestLease) * kLeaseMargin, kShortestLease, kLongestLease);
  Stream draw(spec_.seed, "slots", ++state_.draws);
  for (std::uint64_t i : draw.sample(view.idle.size(), std::min(free, view.idle.size())))
    decisions.assign.push_back({view.idle[i], 0, lease});
  return decisions;
}

void FedBuff::on_assigned(AssignmentId assignment, const Dispatch&, const PolicyView&) {
  state_.training.insert(assignment);
}

Decisions FedBuff::on_update(const Entry& entry, const PolicyView& view) {
  state_.slowest = std::max(entry.received - entry.assigned, state_.slowest - state_.slowest / 64);
  state_.training.erase(entry.assignment);
  if (view.version - entry.base > spec_.fedbuff.max_staleness) {
    Decisions decisions;
    decisions.refuse.emplace_back(entry.assignment, Refusal::kTooStale);
    return decisions;
  }
  state_.buffer.push_back(entry);
  return fold_if_full(view);
}

Decisions FedBuff::on_failure(AssignmentId assignment, DeviceId, const PolicyView&) {
  state_.training.erase(assignment);
  return {};
}

Decisions FedBuff::on_committed(const PolicyView& view) { return fold_if_full(view); }

Decisions FedBuff::fold_if_full(const PolicyView& view) {
  Decisions decisions;
  const std::size_t k = spec_.fedbuff.buffer;
  if (view.folding || state_.buffer.size() < k) return decisions;
  const std::vector<Entry> entries(state_.buffer.begin(), state_.buffer.begin() + static_cast<std::ptrdiff_t>(k));
  state_.buffer.erase(state_.buffer.begin(), state_.buffer.begin() + static_cast<std::ptrdiff_t>(k));
  std::vector<double> factors;
  for (const Entry& entry : entries)
    factors.push_back(staleness_weight(view.version, entry.base, spec_.fedbuff.staleness_exponent));
  decisions.fold = weighted_mean(spec_, entries, factors, static_cast<double>(k));
  decisions.fold->outstanding = static_cast<std::uint32_t>(state_.training.size());
  return decisions;
}

}  // namespace shoal::coordinator
