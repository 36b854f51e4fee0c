// The training loop that a LibTorch user would write, for tests and benchmarks to compare the trainer with.
#pragma once

#include <torch/torch.h>

#include <algorithm>
#include <span>
#include <string_view>
#include <vector>

#include "client/data/dataset.h"
#include "client/training/batch_order.h"
#include "protocol/training_spec.h"

namespace shoal::client::training {

// Logistic regression, or the 2NN or CNN of McMahan et al. (2017) from LibTorch's own modules; parameters in state_dict
// order.
inline torch::nn::Sequential plain_network(std::string_view name) {
  namespace nn = torch::nn;
  if (name == "logistic") return nn::Sequential(nn::Flatten(), nn::Linear(784, 10));
  if (name == "2nn")
    return nn::Sequential(nn::Flatten(), nn::Linear(784, 200), nn::ReLU(), nn::Linear(200, 200), nn::ReLU(),
                          nn::Linear(200, 10));
  return nn::Sequential(nn::Conv2d(nn::Conv2dOptions(1, 32, 5).padding(2)), nn::ReLU(), nn::MaxPool2d(2),
                        nn::Conv2d(nn::Conv2dOptions(32, 64, 5).padding(2)), nn::ReLU(), nn::MaxPool2d(2),
                        nn::Flatten(), nn::Linear(3136, 512), nn::ReLU(), nn::Linear(512, 10));
}

inline void load(torch::nn::Sequential& network, std::span<const float> flat) {
  const torch::NoGradGuard no_grad;
  for (torch::Tensor& p : network->parameters()) {
    const auto count = static_cast<std::size_t>(p.numel());
    std::copy_n(flat.data(), count, p.data_ptr<float>());
    flat = flat.subspan(count);
  }
}

inline std::vector<float> flat_parameters(const torch::nn::Sequential& network) {
  std::vector<float> flat;
  for (const torch::Tensor& p : network->parameters()) {
    const torch::Tensor c = p.detach().contiguous();
    flat.insert(flat.end(), c.data_ptr<float>(), c.data_ptr<float>() + c.numel());
  }
  return flat;
}

// The whole data set as two tensors, as a data loader would keep it.
struct PlainData {
  torch::Tensor x, y;

  explicit PlainData(const data::Dataset& dataset) {
    std::vector<std::int64_t> shape{static_cast<std::int64_t>(dataset.rows())};
    shape.insert(shape.end(), dataset.shape.begin(), dataset.shape.end());
    x = torch::empty(shape);
    y = torch::empty({shape[0]}, torch::kLong);
    for (std::size_t row = 0; row < dataset.rows(); ++row) {
      dataset.example(row, {x.data_ptr<float>() + row * dataset.example_size(), dataset.example_size()});
      y[static_cast<std::int64_t>(row)] = static_cast<std::int64_t>(dataset.labels[row]);
    }
  }
};

// Makes `steps` steps of SGD on the batches of BatchOrder; returns the mean loss.
inline double plain_train(torch::nn::Sequential& network, const PlainData& data, std::span<const std::uint32_t> rows,
                          const protocol::TrainingSpec& spec, std::uint64_t steps, std::uint64_t seed) {
  torch::optim::SGD optimizer(
      network->parameters(),
      torch::optim::SGDOptions(spec.learning_rate).momentum(spec.momentum).weight_decay(spec.weight_decay));
  BatchOrder order(rows, spec.batch_size, seed);
  double loss_sum = 0;
  for (std::uint64_t made = 0; made < steps; ++made) {
    const std::span<const std::uint32_t> batch = order.next();
    const std::vector<std::int64_t> picked(batch.begin(), batch.end());
    const torch::Tensor index = torch::tensor(picked, torch::kLong);
    optimizer.zero_grad();
    const torch::Tensor logits = network->forward(data.x.index_select(0, index));
    const torch::Tensor loss = torch::nn::functional::cross_entropy(logits, data.y.index_select(0, index));
    loss.backward();
    optimizer.step();
    loss_sum += loss.item<double>();
  }
  return loss_sum / static_cast<double>(steps);
}

}  // namespace shoal::client::training
