#include "base/tensor_layout.h"

#include <set>
#include <string_view>

namespace shoal {

Result<TensorLayout> TensorLayout::make(std::vector<TensorSpec> tensors) {
  constexpr std::uint64_t kMaxFloats = std::uint64_t{1} << 40;
  TensorLayout layout;
  std::set<std::string_view> names;
  for (const TensorSpec& t : tensors) {
    if (t.name.empty()) return Error(ErrorCode::kInvalid, "a tensor has an empty name");
    if (!names.insert(t.name).second) return Error(ErrorCode::kInvalid, "two tensors are named " + t.name);
    std::uint64_t count = 1;
    for (std::uint64_t extent : t.shape) {
      if (__builtin_mul_overflow(count, extent, &count) || count > kMaxFloats)
        return Error(ErrorCode::kInvalid, "tensor " + t.name + " has too many elements");
    }
    const std::uint64_t total = layout.offsets_.back() + count;
    if (total > kMaxFloats) return Error(ErrorCode::kInvalid, "the model has too many elements");
    layout.offsets_.push_back(total);
  }
  layout.tensors_ = std::move(tensors);
  return layout;
}

}  // namespace shoal
