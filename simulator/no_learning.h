// Learning without tensors: digests follow from ids, so that a run costs what its coordinator costs.
#pragma once

#include "simulator/learning.h"
#include "simulator/population.h"

namespace shoal::simulator {

// `population` must outlive the result. `bytes` is the size of models and updates.
std::unique_ptr<Learning> make_no_learning(const Population& population, std::uint64_t bytes);

}  // namespace shoal::simulator
