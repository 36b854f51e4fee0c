#include "aggregation/exact_sum.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <string>

#include "base/check.h"
#include "base/vector_clones.h"

namespace shoal::aggregation {
namespace {

constexpr int kSumBits = 62;
constexpr int kLargestExponent = 1023;  // 2^s itself must be a finite double

// Adding it to |x| <= 2^51 leaves rint(x) in the low bits of the sum.
constexpr double kRounder = 0x1.8p52;

// rint(x) for |x| < 2^62, in operations that every vector unit has: the multiple of 2^32 and the rest apart. The rest
// is exact, and the multiple is even, so ties round as they do in rint.
inline std::int64_t round_to_integer(double x) {
  const double high = x * 0x1p-32 + kRounder;
  const double rest = x - (high - kRounder) * 0x1p32;
  constexpr auto kOffset = std::bit_cast<std::uint64_t>(kRounder);
  const std::uint64_t both = (std::bit_cast<std::uint64_t>(high) << 32) + std::bit_cast<std::uint64_t>(rest + kRounder);
  return static_cast<std::int64_t>(both - (kOffset << 32) - kOffset);
}

SHOAL_VECTOR_CLONES
void accumulate_loop(const float* __restrict delta, double factor, std::int64_t* __restrict sum, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) sum[i] += round_to_integer(static_cast<double>(delta[i]) * factor);
}

SHOAL_VECTOR_CLONES
void report_loop(const std::int64_t* __restrict sum, double unit, double factor, float* __restrict update,
                 std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) update[i] = static_cast<float>(static_cast<double>(sum[i]) * unit * factor);
}

}  // namespace

Weight Weight::nearest(double w) {
  SHOAL_CHECK(std::isfinite(w) && w >= 0 && w < 0x1p40, "a weight must be finite, not negative and below 2^40");
  return {std::llrint(w * 0x1p16)};
}

Result<SumScale> SumScale::make(double max_weight, double bound, std::uint64_t max_updates) {
  if (!(max_weight > 0) || !(bound > 0) || max_updates == 0 || !std::isfinite(max_weight) || !std::isfinite(bound))
    return Error(ErrorCode::kInvalid, "the exact sum needs a positive weight, bound and number of updates");
  // The product is rounded up; at most one bit is given away.
  int bits = 0;
  const double product = max_weight * bound * static_cast<double>(max_updates);
  std::frexp(std::nextafter(product, INFINITY), &bits);  // product < 2^bits
  if (!std::isfinite(product) || bits > kSumBits)
    return Error(ErrorCode::kInvalid,
                 "weight x bound x updates reaches 2^" + std::to_string(bits) +
                     ", above the 2^62 of an exact sum; lower the bound, the samples or the cohort");
  SumScale scale;
  scale.exponent_ = std::min(kSumBits - bits, kLargestExponent);
  return scale;
}

void accumulate(std::span<const float> delta, Weight w, SumScale scale, std::span<std::int64_t> sum) {
  SHOAL_CHECK(delta.size() == sum.size(), "an update's tile is as long as its sums");
  accumulate_loop(delta.data(), std::ldexp(w.value(), scale.exponent()), sum.data(), sum.size());
}

void report(std::span<const std::int64_t> sum, SumScale scale, double factor, std::span<float> update) {
  SHOAL_CHECK(update.size() == sum.size(), "an update's tile is as long as its sums");
  report_loop(sum.data(), std::ldexp(1.0, -scale.exponent()), factor, update.data(), sum.size());
}

}  // namespace shoal::aggregation
