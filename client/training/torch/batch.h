// Tensors for one batch at a time, filled from a data set and used again and again.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <span>

#include "client/data/dataset.h"
#include "client/training/model_description.h"

namespace shoal::client::training {

// Holds at most `capacity` examples of the model's input shape. Throws c10::Error when memory runs out.
class Batch {
 public:
  // `model` must outlive the batch.
  Batch(const ModelDescription& model, std::size_t capacity);

  // Copies the examples in, standardized as the model wants them; at most `capacity` rows. The tensors are views of the
  // first rows.size() places, valid until the next fill.
  void fill(const data::Dataset& data, std::span<const std::uint32_t> rows);
  const at::Tensor& examples() const { return examples_; }  // [rows, ...input], float32
  const at::Tensor& labels() const { return labels_; }      // [rows], int64

 private:
  const ModelDescription& model_;
  at::Tensor all_examples_, all_labels_;
  at::Tensor examples_, labels_;
};

}  // namespace shoal::client::training
