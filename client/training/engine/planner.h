// What the plans of a job cost on its model, before anybody trains.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "client/training/engine/fit.h"
#include "client/training/model_description.h"
#include "protocol/plan_table.h"
#include "protocol/training_spec.h"

namespace shoal::client::training::engine {

// How a table states that a plan needs `least` bytes: rounded up to 100 KB.
Bytes stated(std::size_t least);

// `table` with the memory of every row that does not state it: what the engine needs at the least for steps of
// spec.batch_size examples with that plan. kInvalid for a plan that the model does not have.
Result<std::vector<protocol::PlanRow>> with_memory(std::span<const protocol::PlanRow> table,
                                                   const ModelDescription& model, const protocol::TrainingSpec& spec);

// One plan within a budget.
struct Candidate {
  // The fastest way that fits.
  struct Fit {
    Way way;
    std::size_t arena = 0;    // bytes: the peak of every step
    double step_seconds = 0;  // predicted, on this machine
  };
  std::string plan;
  std::uint64_t floats = 0;  // that it trains and uploads
  std::size_t least = 0;     // bytes, with the smallest way
  std::optional<Fit> fit;
};

// Every plan that the model has, the one that trains most first, for steps of `batch` examples on one thread; `budget`
// 0: no limit. Programs that are not wholly known from others are run, one at a time. kExhausted when this machine has
// no memory for that.
Result<std::vector<Candidate>> candidates(const ModelDescription& model, const ProgramOptions& wanted,
                                          std::uint32_t batch, std::size_t budget, const Clock& clock);

}  // namespace shoal::client::training::engine
