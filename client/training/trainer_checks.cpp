#include "client/training/trainer_checks.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

namespace shoal::client::training {
namespace {

Status check_ids(const ModelDescription& model, const data::Dataset& data, std::span<const std::uint32_t> rows) {
  const auto vocabulary = static_cast<float>(model.layers.front().vocabulary);
  std::vector<float> ids(data.example_size());
  for (const std::uint32_t row : rows) {
    data.example(row, ids);
    const auto strange =
        std::ranges::find_if_not(ids, [&](float id) { return id >= 0 && id < vocabulary && id == std::floor(id); });
    if (strange != ids.end())
      return Error(ErrorCode::kInvalid, "row " + std::to_string(row) + " of the data holds " +
                                            std::to_string(*strange) + ", but model " + model.name +
                                            " takes token ids from 0 to below " +
                                            std::to_string(model.layers.front().vocabulary));
  }
  return {};
}

}  // namespace

Status check_data(const ModelDescription& model, const data::Dataset& data, std::span<const std::uint32_t> rows) {
  const std::uint64_t wanted =
      std::accumulate(model.input.begin(), model.input.end(), std::uint64_t{1}, std::multiplies<>());
  if (data.example_size() != wanted || (data.shape.size() == 3 && model.input.size() == 3 && data.shape != model.input))
    return Error(ErrorCode::kInvalid, "the data's examples have " + std::to_string(data.example_size()) +
                                          " values, but model " + model.name + " takes " + std::to_string(wanted) +
                                          " of another shape; make the model for this data");
  if (data.classes > model.classes)
    return Error(ErrorCode::kInvalid, "the data has " + std::to_string(data.classes) + " classes, but model " +
                                          model.name + " tells only " + std::to_string(model.classes) + " apart");
  const auto beyond = std::find_if(rows.begin(), rows.end(), [&](std::uint32_t row) { return row >= data.rows(); });
  if (beyond != rows.end())
    return Error(ErrorCode::kInvalid,
                 "row " + std::to_string(*beyond) + " is wanted, but the data has " + std::to_string(data.rows()));
  if (model.layers.front().kind == LayerKind::kEmbedding) return check_ids(model, data, rows);
  return {};
}

Status check_work(std::span<const std::uint32_t> rows, const protocol::TrainingSpec& spec) {
  if (rows.empty()) return Error(ErrorCode::kInvalid, "there is not one example to train on");
  if (spec.batch_size == 0) return Error(ErrorCode::kInvalid, "batch_size must be at least 1");
  return {};
}

Result<TrainingOutcome> take_steps(std::uint64_t wanted, const std::function<double(std::uint64_t)>& step,
                                   const std::function<bool()>& before_step) {
  TrainingOutcome outcome;
  while (outcome.steps < wanted) {
    if (before_step && !before_step())
      return Error(ErrorCode::kTimeout, "training was given up after " + std::to_string(outcome.steps) + " steps");
    const double loss = step(outcome.steps + 1);
    ++outcome.steps;
    if (!std::isfinite(loss))
      return Error(ErrorCode::kFailed, "training diverged: the loss of step " + std::to_string(outcome.steps) +
                                           " is not finite; lower learning_rate");
    outcome.loss += (loss - outcome.loss) / static_cast<double>(outcome.steps);
  }
  return outcome;
}

}  // namespace shoal::client::training
