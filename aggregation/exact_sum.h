// Exact, order-free sums of weighted updates: every coordinate is a 64-bit integer, q = rint(w * delta * 2^s).
#pragma once

#include <cstdint>
#include <span>

#include "base/result.h"

namespace shoal::aggregation {

// A weight in multiples of 2^-16, at least 0.
struct Weight {
  std::int64_t q16 = 0;

  // Rounds to the nearest multiple; `w` is finite, >= 0 and below 2^40 (checked: a policy computes it).
  static Weight nearest(double w);
  double value() const { return static_cast<double>(q16) * 0x1p-16; }

  friend auto operator<=>(const Weight&, const Weight&) = default;
  template <class Archive>
  void fields(Archive& a) {
    a(q16);
  }
};

// The job's fixed scale 2^s: the largest s with w_max * bound * n_max * 2^s < 2^62.
class SumScale {
 public:
  // kInvalid when no s >= 0 exists or an argument is not positive and finite.
  static Result<SumScale> make(double max_weight, double bound, std::uint64_t max_updates);
  int exponent() const { return exponent_; }

 private:
  int exponent_ = 0;
};

// sum[i] += rint(w * delta[i] * 2^s). Spans have equal length; |delta[i]| <= bound was checked at admission. The
// product is formed in double (w has at most 40 significant bits: one rounding), so any order of calls, threads or
// tiles gives the same bits.
void accumulate(std::span<const float> delta, Weight w, SumScale scale, std::span<std::int64_t> sum);

// update[i] = float(sum[i] * 2^-s * factor), rounded once from double. `factor` is the fold's normalisation (1 / total
// weight).
void report(std::span<const std::int64_t> sum, SumScale scale, double factor, std::span<float> update);

}  // namespace shoal::aggregation
