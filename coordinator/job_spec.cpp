#include "coordinator/job_spec.h"

#include <cmath>

#include "protocol/message_limits.h"

namespace shoal::coordinator {

std::uint32_t max_updates(const JobSpec& spec) {
  switch (spec.policy) {
    case PolicyKind::kFedAvg:  // the cohort, whoever else was invited, and late ones that are kept
      return 4 * static_cast<std::uint32_t>(std::ceil(spec.fedavg.cohort * spec.fedavg.over_selection)) + 16;
    case PolicyKind::kFedBuff: return spec.fedbuff.buffer;
    case PolicyKind::kFedCompass:  // a group, and a general buffer that may grow while a fold is on its way
      return 16 * spec.fedcompass.devices + 256;
  }
  return 0;
}

double max_weight(const JobSpec& spec) {
  return spec.policy == PolicyKind::kFedAvg ? static_cast<double>(spec.limits.max_samples) : 1.0;
}

Status check(const JobSpec& spec) {
  const auto invalid = [](std::string why) { return Error(ErrorCode::kInvalid, std::move(why)); };
  if (spec.name.empty() || spec.name.size() > 64) return invalid("name must have 1 to 64 characters");
  for (unsigned char c : spec.name)
    if (c < 0x21 || c > 0x7e || c == '/')
      return invalid("name may only hold printable characters without spaces and slashes");
  if (spec.policy == PolicyKind::kFedCompass && spec.fedcompass.min_steps > spec.fedcompass.max_steps)
    return invalid("fedcompass.min_steps is larger than fedcompass.max_steps");
  if (spec.policy == PolicyKind::kFedCompass && spec.fedcompass.alpha <= 0)
    return invalid("fedcompass.alpha must be above 0");
  if (spec.policy == PolicyKind::kFedBuff && spec.fedbuff.concurrency < 1)
    return invalid("fedbuff.concurrency must be at least 1");
  if (spec.policy == PolicyKind::kFedAvg && spec.fedavg.deadline < Duration::zero())
    return invalid("fedavg.deadline is negative");
  if (spec.optimizer.learning_rate <= 0) return invalid("optimizer.learning_rate must be above 0");
  SHOAL_TRY(protocol::check(spec.training));
  if (spec.training.plan != "full")
    return invalid("training.plan \"" + spec.training.plan + "\" is unknown; use \"full\"");
  if (spec.evaluation.every > 0 && spec.evaluation.lease <= Duration::zero())
    return invalid("evaluation.lease must be above 0");
  auto scale = aggregation::SumScale::make(max_weight(spec), spec.limits.update_bound, max_updates(spec));
  if (!scale.ok()) return std::move(scale).error().because_of_this("the limits leave no room for exact sums");
  return {};
}

}  // namespace shoal::coordinator
