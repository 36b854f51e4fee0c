// From an experiment's options to the parts that the engine needs: the fleet, its data and its learning.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "simulator/experiment.h"
#include "simulator/learning.h"
#include "simulator/population.h"
#include "simulator/tensor_learning.h"

namespace shoal::simulator {

// Neither copied nor moved apart from its pointer: the parts refer to each other.
struct World {
  coordinator::JobSpec job;  // to submit: where devices have budgets, with the memory that each plan needs
  std::unique_ptr<const Population> population;
  std::unique_ptr<const LearningTask> task;  // null with training = "none"
  std::unique_ptr<Learning> learning;        // uses the two above
};

// Reads the data, deals it out and starts the workers. `plugin_folder` is where the LibTorch trainer lies; empty: the
// usual places. Errors of the options, the data, the plugin.
Result<World> make_world(const ExperimentOptions& options, const std::string& plugin_folder);

// What make_world hands to the learning: the data, the model and who holds which rows. For tests that train by other
// means.
Result<LearningTask> make_task(const ExperimentOptions& options);

}  // namespace shoal::simulator
