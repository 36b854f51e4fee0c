#include "simulator/distribution.h"

#include <algorithm>
#include <cmath>

namespace shoal::simulator {

double Distribution::draw(Stream& stream) const {
  double factor = 1;
  switch (kind) {
    case DistributionKind::kHomogeneous: break;
    case DistributionKind::kNormal: factor = 1 + spread * stream.normal(); break;
    case DistributionKind::kLognormal: factor = std::exp(spread * stream.normal() - 0.5 * spread * spread); break;
    case DistributionKind::kExponential: factor = stream.exponential(); break;
  }
  return mean * std::max(factor, 0.01);
}

}  // namespace shoal::simulator
