#include "coordinator/job_spec.h"

#include <cmath>
#include <utility>

#include "base/option_ranges.h"
#include "protocol/limits.h"
#include "protocol/message_limits.h"
#include "protocol/plan_table.h"

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

namespace {

Error invalid(std::string why) { return Error(ErrorCode::kInvalid, std::move(why)); }

// It is written into lists, logs and the labels of metrics as it is.
Status check_name(const std::string& name) {
  if (name.empty() || name.size() > 64) return invalid("name must have 1 to 64 characters");
  for (unsigned char c : name)
    if (c < 0x21 || c > 0x7e || c == '/' || c == '\\' || c == '"' || c == '\'' || c == '`')
      return invalid("name may only hold printable ASCII characters without spaces, quotes, slashes and backslashes");
  return {};
}

Status check_fedavg(const FedAvgOptions& options) {
  if (options.late == LateRule::kKeep && options.deadline * options.late_staleness > protocol::kMaxDuration)
    return invalid("fedavg.deadline times fedavg.late_staleness is above ten years, for which no update is waited for");
  return {};
}

Status check_fedcompass(const FedCompassOptions& options) {
  if (options.min_steps > options.max_steps) return invalid("fedcompass.min_steps is larger than fedcompass.max_steps");
  if (options.alpha <= 0) return invalid("fedcompass.alpha must be above 0");
  return {};
}

}  // namespace

Status check(const JobSpec& spec) {
  SHOAL_TRY(check_name(spec.name));
  SHOAL_TRY(check_ranges(spec));
  SHOAL_TRY(protocol::check(spec.training));
  if (spec.policy == PolicyKind::kFedAvg) SHOAL_TRY(check_fedavg(spec.fedavg));
  if (spec.policy == PolicyKind::kFedCompass) SHOAL_TRY(check_fedcompass(spec.fedcompass));
  if (spec.optimizer.learning_rate <= 0) return invalid("optimizer.learning_rate must be above 0");
  if (spec.training.learning_rate <= 0) return invalid("training.learning_rate must be above 0");
  if (spec.weigh_steps && spec.training.learning_rate * spec.training.proximal >= 1)
    return invalid(
        "weigh_steps needs training.learning_rate times training.proximal below 1: beyond, a local step leaps "
        "over the model that it is pulled to");
  if (auto plans = protocol::parse_plan_table(spec.training.plan); !plans.ok())
    return std::move(plans).error().because_of_this("training.plan");
  if (spec.training.optimizer != protocol::LocalOptimizerKind::kSgd) {
    if (spec.training.momentum > 0) return invalid("training.momentum is of sgd; training.optimizer is adam");
    if (spec.weigh_steps) return invalid("weigh_steps knows how far steps of sgd reach; training.optimizer is adam");
  }
  auto scale = aggregation::SumScale::make(max_weight(spec), spec.limits.update_bound, max_updates(spec));
  if (!scale.ok()) {
    const std::string updates = spec.policy == PolicyKind::kFedAvg    ? "fedavg.cohort"
                                : spec.policy == PolicyKind::kFedBuff ? "fedbuff.buffer"
                                                                      : "fedcompass.devices";
    return std::move(scale).error().because_of_this("limits.update_bound, limits.max_samples and " + updates +
                                                    " leave no room for exact sums");
  }
  return {};
}

}  // namespace shoal::coordinator
