// A model as the coordinator sees it: named tensors, one after the other, in one flat array of float32.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace shoal {

struct TensorSpec {
  std::string name;                  // as in PyTorch's state_dict: "fc1.weight"
  std::vector<std::uint64_t> shape;  // empty for a scalar
  std::string group;                 // backbone, norm, bias, lite, adapter or head

  template <class Archive>
  void fields(Archive& a) {
    a(name, shape, group);
  }
  friend bool operator==(const TensorSpec&, const TensorSpec&) = default;
};

// Immutable once made. Offsets and counts are in floats, not bytes.
class TensorLayout {
 public:
  TensorLayout() = default;

  // Refuses empty or repeated names and element counts that overflow or exceed 2^40.
  static Result<TensorLayout> make(std::vector<TensorSpec> tensors);

  std::span<const TensorSpec> tensors() const { return tensors_; }
  std::uint64_t offset(std::size_t tensor) const { return offsets_[tensor]; }
  std::uint64_t count(std::size_t tensor) const { return offsets_[tensor + 1] - offsets_[tensor]; }
  std::uint64_t total() const { return offsets_.back(); }

  friend bool operator==(const TensorLayout& a, const TensorLayout& b) { return a.tensors_ == b.tensors_; }

 private:
  std::vector<TensorSpec> tensors_;
  std::vector<std::uint64_t> offsets_{0};
};

}  // namespace shoal
