// A model description brought to life: parameter tensors, and a forward pass over its graph.
#pragma once

#include <ATen/ATen.h>

#include <span>
#include <vector>

#include "base/tensor_layout.h"
#include "client/training/graph.h"

namespace shoal::client::training {

// Parameters are leaf tensors of float32, one for each tensor of the layout and in its order. Not thread-safe; throws
// c10::Error.
class TorchModel {
 public:
  // All three of one description.
  TorchModel(ModelDescription description, Graph graph, TensorLayout layout);

  const ModelDescription& description() const { return description_; }
  const TensorLayout& layout() const { return layout_; }
  std::span<at::Tensor> parameters() { return parameters_; }

  // Copies a flat model in.
  void load(std::span<const float> flat);

  // Gradients are taken of these only; one entry for each parameter.
  void train_only(const std::vector<bool>& trained);

  // Logits [batch, classes] of a batch [batch, ...input].
  at::Tensor forward(const at::Tensor& batch) const;

 private:
  ModelDescription description_;
  Graph graph_;
  std::vector<std::size_t> last_use_;  // of each value, by operation
  TensorLayout layout_;
  std::vector<at::Tensor> parameters_;
};

}  // namespace shoal::client::training
