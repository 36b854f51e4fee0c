// What an update holds of a model: the tensors that its plan trains, one after the other in the model's order. What a
// plan leaves alone is never sent.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/tensor_layout.h"

namespace shoal::protocol {

// Neighbours in the model and in the update. All in floats.
struct UpdateRange {
  std::uint64_t model = 0;   // where it begins in the model
  std::uint64_t update = 0;  // where it begins in the update
  std::uint64_t count = 0;

  friend bool operator==(const UpdateRange&, const UpdateRange&) = default;
};

// Immutable once made.
class UpdateLayout {
 public:
  UpdateLayout() = default;
  // `trained` has one entry for each tensor of `layout`.
  UpdateLayout(const std::vector<bool>& trained, const TensorLayout& layout);
  // Of an update that holds a whole model of that many floats.
  static UpdateLayout whole(std::uint64_t floats);

  std::uint64_t floats() const { return ranges_.empty() ? 0 : ranges_.back().update + ranges_.back().count; }
  // In order, without gaps in the update, as few as there can be.
  std::span<const UpdateRange> ranges() const { return ranges_; }

 private:
  void add(std::uint64_t model, std::uint64_t count);

  std::vector<UpdateRange> ranges_;
};

// Errors as trained_by's (update_plan.h).
Result<UpdateLayout> update_layout(std::string_view plan, const TensorLayout& layout);
// One for each row of a job's plan table (plan_table.h).
Result<std::vector<UpdateLayout>> update_layouts(std::string_view plan_table, const TensorLayout& layout);

}  // namespace shoal::protocol
