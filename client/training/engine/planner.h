// What the plans of a job cost on its model, before anybody trains.
#pragma once

#include <span>
#include <vector>

#include "base/result.h"
#include "client/training/model_description.h"
#include "protocol/plan_table.h"
#include "protocol/training_spec.h"

namespace shoal::client::training::engine {

// `table` with the memory of every row that does not state it: what the engine needs at the least for steps of
// spec.batch_size examples with that plan, rounded up to 100 KB. kInvalid for a plan that the model does not have.
Result<std::vector<protocol::PlanRow>> with_memory(std::span<const protocol::PlanRow> table,
                                                   const ModelDescription& model, const protocol::TrainingSpec& spec);

}  // namespace shoal::client::training::engine
