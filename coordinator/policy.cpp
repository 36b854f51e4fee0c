#include "coordinator/policy.h"

#include <cmath>

#include "aggregation/fednova.h"
#include "base/check.h"
#include "coordinator/fedavg.h"
#include "coordinator/fedbuff.h"
#include "coordinator/fedcompass.h"

namespace shoal::coordinator {

std::unique_ptr<Policy> make_policy(const JobSpec& spec) {
  switch (spec.policy) {
    case PolicyKind::kFedAvg: return std::make_unique<FedAvg>(spec);
    case PolicyKind::kFedBuff: return std::make_unique<FedBuff>(spec);
    case PolicyKind::kFedCompass: return std::make_unique<FedCompass>(spec);
  }
  check_failed(__FILE__, __LINE__, "unknown policy kind");
}

double staleness_weight(Version now, Version base, double exponent) {
  SHOAL_CHECK(base <= now, "an update cannot be newer than the model");
  return std::pow(1.0 + static_cast<double>(now - base), -exponent);
}

Aggregate weighted_mean(const JobSpec& spec, std::span<const Entry> entries, std::span<const double> factors,
                        double normaliser) {
  SHOAL_CHECK(entries.size() == factors.size(), "every entry has its factor");
  Aggregate mean;
  mean.scale = 1.0 / normaliser;
  std::vector<double> weights(factors.begin(), factors.end());
  if (spec.weigh_steps) {
    const aggregation::LocalSgd sgd{spec.training.learning_rate, spec.training.momentum, spec.training.proximal};
    std::vector<double> norms;
    for (const Entry& entry : entries) norms.push_back(aggregation::step_norm(sgd, entry.steps));
    aggregation::NovaWeights nova = aggregation::fednova(factors, norms, normaliser);
    weights = std::move(nova.weights);
    mean.scale = nova.scale;
  }
  for (std::size_t i = 0; i < entries.size(); ++i) mean.entries.push_back({entries[i].assignment, weights[i]});
  return mean;
}

}  // namespace shoal::coordinator
