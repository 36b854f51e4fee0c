// Which floats of a model a fold changes, and with what normalisation: clients with different plans train different
// tensors, and each value becomes the mean over those who trained it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "coordinator/action.h"
#include "protocol/update_layout.h"

namespace shoal::coordinator {

// Neighbours that the same plans train.
struct FoldRun {
  std::uint64_t model = 0;   // where it begins in the model, in floats
  std::uint64_t packed = 0;  // where it begins among all floats that the fold changes
  std::uint64_t count = 0;
  // fold.scale times the weight of all entries by that of the entries that trained it: exactly fold.scale where all
  // did.
  double factor = 0;
  std::vector<std::optional<std::uint64_t>> update;  // by plan: where it begins in an update
};

// In the model's order. Entries with weight 0 train nothing. Every entry's plan is one of `plans` (checked).
std::vector<FoldRun> fold_runs(const action::Fold& fold, std::span<const protocol::UpdateLayout> plans);

}  // namespace shoal::coordinator
