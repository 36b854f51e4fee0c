// Which examples form which local step: every trainer, and any training loop to compare with, takes its batches from
// here.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/rng.h"
#include "protocol/training_spec.h"

namespace shoal::client::training {

// Local steps of an assignment over `rows` examples: `steps` as it says, or spec.epochs epochs when that is 0.
std::uint64_t steps_wanted(std::uint64_t rows, const protocol::TrainingSpec& spec, std::uint32_t steps);

// Epoch after epoch over `rows`, each in a new order drawn from Stream(seed, "batches"); the last batch of an epoch may
// be short.
class BatchOrder {
 public:
  // `rows` is not empty, batch_size >= 1.
  BatchOrder(std::span<const std::uint32_t> rows, std::uint32_t batch_size, std::uint64_t seed);

  // The rows of the next step; valid until the next call.
  std::span<const std::uint32_t> next();

 private:
  std::vector<std::uint32_t> rows_;
  std::size_t batch_size_;
  std::size_t used_;  // rows of this epoch already handed out
  Stream stream_;
};

}  // namespace shoal::client::training
