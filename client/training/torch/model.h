// A model description brought to life: parameter tensors, and a forward pass that interprets the layers.
#pragma once

#include <ATen/ATen.h>

#include <span>
#include <vector>

#include "base/tensor_layout.h"
#include "client/training/model_description.h"

namespace shoal::client::training {

// Parameters are leaf tensors of float32, one for each tensor of the layout and in its order. Not thread-safe; throws
// c10::Error.
class TorchModel {
 public:
  // `description` has passed shapes_of.
  TorchModel(ModelDescription description, TensorLayout layout);

  const ModelDescription& description() const { return description_; }
  const TensorLayout& layout() const { return layout_; }
  std::span<at::Tensor> parameters() { return parameters_; }

  // Copies a flat model in.
  void load(std::span<const float> flat);

  // Logits [batch, classes] of a batch [batch, ...input].
  at::Tensor forward(const at::Tensor& batch) const;

 private:
  ModelDescription description_;
  TensorLayout layout_;
  std::vector<at::Tensor> parameters_;
};

}  // namespace shoal::client::training
