#include "aggregation/fednova.h"

#include <algorithm>
#include <cstddef>

#include "base/check.h"

namespace shoal::aggregation {
namespace {

// One or many local steps under a constant gradient of 1, as an affine map of (z, v): z is the distance so far in units
// of eta, v the momentum buffer.
struct StepMap {
  double zz, zv, vz, vv;  // the matrix
  double z, v;            // the offset

  // `next` after this one.
  StepMap then(const StepMap& next) const {
    return {next.zz * zz + next.zv * vz, next.zz * zv + next.zv * vv,        next.vz * zz + next.vv * vz,
            next.vz * zv + next.vv * vv, next.zz * z + next.zv * v + next.z, next.vz * z + next.vv * v + next.v};
  }
};

}  // namespace

double step_norm(const LocalSgd& sgd, std::uint64_t steps) {
  // v' = rho v + 1 - eta mu z;  z' = z + v'
  const double pull = sgd.learning_rate * sgd.proximal;
  StepMap power{1 - pull, sgd.momentum, -pull, sgd.momentum, 1, 1};  // of 2^k steps
  StepMap all{1, 0, 0, 1, 0, 0};
  for (; steps > 0; steps >>= 1) {
    if (steps & 1) all = all.then(power);
    power = power.then(power);
  }
  return all.z;
}

NovaWeights fednova(std::span<const double> factors, std::span<const double> norms, double normaliser) {
  SHOAL_CHECK(factors.size() == norms.size() && normaliser > 0, "every factor has a norm");
  double mass = 0, moved = 0, shortest = 0;
  for (std::size_t i = 0; i < factors.size(); ++i) {
    if (norms[i] <= 0) continue;
    mass += factors[i];
    moved += factors[i] * norms[i];
    shortest = shortest == 0 ? norms[i] : std::min(shortest, norms[i]);
  }
  NovaWeights nova{std::vector<double>(factors.size(), 0.0), 0};
  if (!(mass > 0)) return nova;
  // Divided by norms[i] / shortest instead of norms[i]: weights are rounded to 2^-16, so they are kept as large as they
  // may be.
  for (std::size_t i = 0; i < factors.size(); ++i)
    if (norms[i] > 0) nova.weights[i] = factors[i] * (shortest / norms[i]);
  nova.scale = moved / mass / (shortest * normaliser);
  return nova;
}

}  // namespace shoal::aggregation
