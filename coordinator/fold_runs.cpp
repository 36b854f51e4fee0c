#include "coordinator/fold_runs.h"

#include <algorithm>
#include <set>

#include "base/check.h"

namespace shoal::coordinator {
namespace {

// Where the model's float `at` lies in an update, if that holds it.
std::optional<std::uint64_t> place_in(const protocol::UpdateLayout& plan, std::uint64_t at) {
  const auto ranges = plan.ranges();
  const auto after =
      std::upper_bound(ranges.begin(), ranges.end(), at, [](std::uint64_t a, const auto& r) { return a < r.model; });
  if (after == ranges.begin()) return std::nullopt;
  const protocol::UpdateRange& range = *std::prev(after);
  if (at - range.model >= range.count) return std::nullopt;
  return range.update + (at - range.model);
}

}  // namespace

std::vector<FoldRun> fold_runs(const action::Fold& fold, std::span<const protocol::UpdateLayout> plans) {
  std::vector<std::int64_t> weights(plans.size());
  std::int64_t all = 0;
  for (const action::Fold::Entry& entry : fold.entries) {
    SHOAL_CHECK(entry.plan < plans.size(), "an update was trained with a plan that its job does not have");
    weights[entry.plan] += entry.weight.q16;
    all += entry.weight.q16;
  }
  std::set<std::uint64_t> borders;
  for (std::size_t p = 0; p < plans.size(); ++p)
    for (const protocol::UpdateRange& range : plans[p].ranges())
      if (weights[p] > 0) borders.insert({range.model, range.model + range.count});
  std::vector<FoldRun> runs;
  std::uint64_t packed = 0;
  for (auto border = borders.begin(); border != borders.end() && std::next(border) != borders.end(); ++border) {
    FoldRun run{.model = *border, .packed = packed, .count = *std::next(border) - *border, .factor = 0, .update = {}};
    std::int64_t weight = 0;
    for (std::size_t p = 0; p < plans.size(); ++p) {
      run.update.push_back(weights[p] > 0 ? place_in(plans[p], run.model) : std::nullopt);
      if (run.update.back()) weight += weights[p];
    }
    if (weight == 0) continue;
    run.factor = fold.scale * (static_cast<double>(all) / static_cast<double>(weight));
    packed += run.count;
    runs.push_back(std::move(run));
  }
  return runs;
}

}  // namespace shoal::coordinator
