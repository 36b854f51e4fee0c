// What every trainer refuses before it starts.
#pragma once

#include <cstdint>
#include <span>

#include "base/result.h"
#include "client/data/dataset.h"
#include "client/training/model_description.h"
#include "protocol/training_spec.h"

namespace shoal::client::training {

// Rows exist in the data, its examples are as long as the model's input and its classes fit the logits.
Status check_data(const ModelDescription& model, const data::Dataset& data, std::span<const std::uint32_t> rows);

// Something to train on, and a batch size that makes sense.
Status check_work(std::span<const std::uint32_t> rows, const protocol::TrainingSpec& spec);

}  // namespace shoal::client::training
