// Seeded distributions that describe a fleet: how fast, how far, how often.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "base/options.h"
#include "base/rng.h"

namespace shoal::simulator {

enum class DistributionKind : std::uint8_t { kHomogeneous, kNormal, kLognormal, kExponential };
inline EnumNames<DistributionKind> enum_names(DistributionKind) {
  static constexpr std::array<std::pair<DistributionKind, std::string_view>, 4> kNames{
      {{DistributionKind::kHomogeneous, "homogeneous"},
       {DistributionKind::kNormal, "normal"},
       {DistributionKind::kLognormal, "lognormal"},
       {DistributionKind::kExponential, "exponential"}}};
  return kNames;
}

// A positive quantity with this mean, whatever the kind. `spread` is the standard deviation as a share of the mean
// (normal) or the sigma of the logarithm (lognormal); the others ignore it.
struct Distribution {
  DistributionKind kind = DistributionKind::kHomogeneous;
  double mean = 0;
  double spread = 0.3;

  template <class Visitor>
  void visit(Visitor& v) {
    v("kind", kind, any, "homogeneous, normal, lognormal or exponential");
    v("mean", mean, between(0.0, 1e15), "Mean");
    v("spread", spread, between(0.0, 10.0),
      "Standard deviation as a share of the mean (normal), sigma of the logarithm (lognormal)");
  }
  template <class Archive>
  void fields(Archive& a) {
    a(kind, mean, spread);
  }

  // One draw; at least 1 % of the mean, so that no device is infinitely fast or, for rates, for ever busy.
  double draw(Stream& stream) const;
};

}  // namespace shoal::simulator
