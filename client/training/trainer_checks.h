// What every trainer refuses before it starts, and how its steps may end.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "base/result.h"
#include "client/data/dataset.h"
#include "client/training/model_description.h"
#include "client/training/trainer.h"
#include "protocol/training_spec.h"

namespace shoal::client::training {

// Rows exist in the data, its examples are as long as the model's input and its classes fit the logits. Where the model
// begins with an embedding, the rows hold token ids of its vocabulary.
Status check_data(const ModelDescription& model, const data::Dataset& data, std::span<const std::uint32_t> rows);

// Something to train on, and a batch size that makes sense.
Status check_work(std::span<const std::uint32_t> rows, const protocol::TrainingSpec& spec);

// Makes `wanted` local steps: `step` makes one, by its number from 1, and returns its loss. kFailed when a loss is not
// finite, kTimeout when `before_step` (may be empty) returns false.
Result<TrainingOutcome> take_steps(std::uint64_t wanted, const std::function<double(std::uint64_t)>& step,
                                   const std::function<bool()>& before_step);

}  // namespace shoal::client::training
