#include "client/training/torch/batch.h"

namespace shoal::client::training {

Batch::Batch(const ModelDescription& model, std::size_t capacity) : model_(model) {
  std::vector<std::int64_t> shape{static_cast<std::int64_t>(capacity)};
  shape.insert(shape.end(), model.input.begin(), model.input.end());
  all_examples_ = at::empty(shape, at::kFloat);
  all_labels_ = at::empty({shape[0]}, at::kLong);
  examples_ = all_examples_;
  labels_ = all_labels_;
}

void Batch::fill(const data::Dataset& data, std::span<const std::uint32_t> rows) {
  const std::int64_t count = static_cast<std::int64_t>(rows.size());
  if (examples_.size(0) != count) {
    examples_ = all_examples_.narrow(0, 0, count);
    labels_ = all_labels_.narrow(0, 0, count);
  }
  const std::size_t size = data.example_size();
  float* example = examples_.data_ptr<float>();
  std::int64_t* label = labels_.data_ptr<std::int64_t>();
  for (std::uint32_t row : rows) {
    data.example(row, {example, size});
    standardize(model_, {example, size});
    example += size;
    *label++ = data.labels[row];
  }
}

}  // namespace shoal::client::training
