#include "simulator/experiment.h"

namespace shoal::simulator {
namespace {

Error invalid(std::string message) { return Error(ErrorCode::kInvalid, std::move(message)); }

}  // namespace

Status check(const ExperimentOptions& options) {
  SHOAL_TRY(coordinator::check(options.job));
  const bool real = options.training == TrainingKind::kTorch || options.training == TrainingKind::kEngine;
  if (real && options.data.source.empty())
    return invalid("training = \"" + std::string(name_of(options.training)) +
                   "\" needs data; set data.source, or choose training = \"synthetic\"");
  if (!real && options.target_accuracy > 0)
    return invalid("target_accuracy is never reached without real training; set training = \"torch\" or \"engine\"");
  if (real && options.target_accuracy > 0 && options.evaluate_every == 0)
    return invalid("target_accuracy needs evaluations; set evaluate_every to 1 or more");
  if (options.job.evaluation.every > 0 && options.training != TrainingKind::kNone && options.data.test_fraction == 0)
    return invalid("job.evaluation.every needs examples to evaluate on; set data.test_fraction");
  if (options.model.ends_with(".safetensors") && !options.standardize.empty())
    return invalid("a model from a file says itself how its inputs are standardized; leave standardize empty");
  SHOAL_TRY(parse_budgets(options.population.budgets));
  if (!options.population.budgets.empty() && options.training != TrainingKind::kEngine)
    return invalid("population.budgets are obeyed by training = \"engine\" alone");
  const AvailabilityOptions& availability = options.population.availability;
  if (availability.online.mean > 0 && availability.offline.mean <= 0)
    return invalid("population.availability.online ends, so population.availability.offline needs a mean as well");
  if (options.data.source.empty() && options.population.devices == 0)
    return invalid("population.devices must say how many devices there are, since there is no data that does");
  return {};
}

}  // namespace shoal::simulator
