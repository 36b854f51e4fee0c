#include "aggregation/exact_sum.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <thread>
#include <vector>

#include "base/rng.h"

namespace shoal::aggregation {
namespace {

constexpr double kBound = 16;

struct Update {
  std::vector<float> delta;
  Weight weight;
};

std::vector<Update> draw_updates(std::size_t count, std::size_t floats, std::uint64_t seed) {
  Stream draw(seed, "updates");
  std::vector<Update> updates(count);
  for (Update& update : updates) {
    update.weight = Weight::nearest(draw.uniform() * 1000);
    update.delta.resize(floats);
    const double size = std::exp(draw.normal() * 4);
    for (float& value : update.delta) value = static_cast<float>(std::clamp(draw.normal() * size, -kBound, kBound));
  }
  return updates;
}

std::vector<std::int64_t> sum_of(std::span<const Update> updates, SumScale scale) {
  std::vector<std::int64_t> sum(updates[0].delta.size());
  for (const Update& update : updates) accumulate(update.delta, update.weight, scale, sum);
  return sum;
}

SumScale scale_for(std::size_t updates) { return SumScale::make(1000, kBound, updates).value(); }

TEST(ExactSum, RoundsEachTermToTheNearestInteger) {
  Stream draw(1, "terms");
  for (int round = 0; round < 200; ++round) {
    // From far below one unit to the full 62 bits.
    const double bound = std::ldexp(1.0, static_cast<int>(draw.below(60)) - 20);
    const Weight weight = Weight::nearest(1 + draw.uniform() * 1000);
    const SumScale scale = SumScale::make(1001, bound, 1).value();
    std::vector<float> delta(257);
    for (float& value : delta) value = static_cast<float>((draw.uniform() * 2 - 1) * bound);
    std::vector<std::int64_t> sum(delta.size(), -7);
    accumulate(delta, weight, scale, sum);
    for (std::size_t i = 0; i < delta.size(); ++i) {
      const double term = static_cast<double>(delta[i]) * std::ldexp(weight.value(), scale.exponent());
      ASSERT_EQ(sum[i], std::llrint(term) - 7) << "delta " << delta[i];
    }
  }
}

TEST(ExactSum, TiesRoundToEven) {
  const SumScale scale = SumScale::make(1, 1.5, 1).value();
  const auto half = static_cast<float>(std::ldexp(0.5, -scale.exponent()));
  const std::vector<float> delta = {half, 3 * half, 5 * half, -half, -3 * half, 0.0f, -0.0f};
  std::vector<std::int64_t> sum(delta.size());
  accumulate(delta, Weight::nearest(1), scale, sum);
  EXPECT_EQ(sum, (std::vector<std::int64_t>{0, 2, 2, 0, -2, 0, 0}));
}

TEST(ExactSum, AnyOrderGivesTheSameSum) {
  std::vector<Update> updates = draw_updates(20, 1000, 2);
  const std::vector<std::int64_t> expected = sum_of(updates, scale_for(20));
  Stream draw(2, "orders");
  for (int round = 0; round < 50; ++round) {
    draw.shuffle(std::span(updates));
    ASSERT_EQ(sum_of(updates, scale_for(20)), expected);
  }
}

TEST(ExactSum, AnyCutOverThreadsGivesTheSameSum) {
  const std::vector<Update> updates = draw_updates(10, 5003, 3);
  const std::vector<std::int64_t> expected = sum_of(updates, scale_for(10));
  for (std::size_t threads = 1; threads <= 8; ++threads) {
    std::vector<std::int64_t> sum(expected.size());
    {
      std::vector<std::jthread> workers;
      for (std::size_t t = 0; t < threads; ++t) {
        const std::size_t begin = sum.size() * t / threads, end = sum.size() * (t + 1) / threads;
        workers.emplace_back([&, begin, end] {
          for (const Update& update : updates)
            accumulate(std::span(update.delta).subspan(begin, end - begin), update.weight, scale_for(10),
                       std::span(sum).subspan(begin, end - begin));
        });
      }
    }
    EXPECT_EQ(sum, expected) << threads << " threads";
  }
}

TEST(ExactSum, ShardsAddUpToTheWhole) {
  const std::vector<Update> updates = draw_updates(12, 100, 4);
  const std::vector<std::int64_t> expected = sum_of(updates, scale_for(12));
  const std::vector<std::int64_t> left = sum_of(std::span(updates).first(5), scale_for(12));
  const std::vector<std::int64_t> right = sum_of(std::span(updates).subspan(5), scale_for(12));
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(left[i] + right[i], expected[i]);
}

TEST(ExactSum, TheLargestUpdatesAllTogetherDoNotOverflow) {
  for (const double weight : {1.0, 100000.0, 0.75}) {
    for (const double bound : {16.0, 1e-6, 1e6, 0.1}) {
      for (const std::uint64_t count : {1u, 3u, 1024u}) {
        const SumScale scale = SumScale::make(weight, bound, count).value();
        const std::vector<float> delta = {static_cast<float>(bound), -static_cast<float>(bound)};
        std::vector<std::int64_t> sum(2);
        for (std::uint64_t i = 0; i < count; ++i) accumulate(delta, Weight::nearest(weight), scale, sum);
        const double exact =
            std::ldexp(Weight::nearest(weight).value() * delta[0] * static_cast<double>(count), scale.exponent());
        EXPECT_LE(std::abs(static_cast<double>(sum[0])), 0x1p62);
        EXPECT_NEAR(static_cast<double>(sum[0]) / exact, 1, 1e-12);
        EXPECT_EQ(sum[0], -sum[1]);
        // One more bit would be too much, so no resolution is wasted.
        EXPECT_GE(weight * bound * static_cast<double>(count) * std::ldexp(1.0, scale.exponent() + 1),
                  0x1p62 * (1 - 1e-9));
      }
    }
  }
}

TEST(ExactSum, LimitsThatLeaveNoRoomAreRefused) {
  EXPECT_FALSE(SumScale::make(0x1p40, 0x1p20, 8).ok());
  EXPECT_FALSE(SumScale::make(1e300, 1e300, 2).ok());
  EXPECT_FALSE(SumScale::make(0, 1, 1).ok());
  EXPECT_FALSE(SumScale::make(1, -1, 1).ok());
  EXPECT_FALSE(SumScale::make(1, 1, 0).ok());
  EXPECT_FALSE(SumScale::make(1, std::numeric_limits<double>::quiet_NaN(), 1).ok());
  EXPECT_EQ(SumScale::make(1, 1, 0).error().code(), ErrorCode::kInvalid);
  EXPECT_EQ(SumScale::make(0x1p40, 0x1p20, 2).value().exponent(), 0);
}

TEST(ExactSum, EqualWeightsReportTheMean) {
  constexpr std::size_t kCount = 7, kFloats = 999;
  std::vector<Update> updates = draw_updates(kCount, kFloats, 5);
  for (Update& update : updates) update.weight = Weight::nearest(600);
  const std::vector<std::int64_t> sum = sum_of(updates, scale_for(kCount));
  std::vector<float> mean(kFloats);
  report(sum, scale_for(kCount), 1.0 / (600.0 * kCount), mean);
  for (std::size_t i = 0; i < kFloats; ++i) {
    long double expected = 0;
    for (const Update& update : updates) expected += update.delta[i];
    expected /= kCount;
    ASSERT_NEAR(mean[i], static_cast<double>(expected), std::abs(static_cast<double>(expected)) * 0x1p-23 + 1e-12);
  }
}

TEST(ExactSum, WeightsRoundToSixteenBinaryPlaces) {
  EXPECT_EQ(Weight::nearest(1).q16, 65536);
  EXPECT_EQ(Weight::nearest(0).q16, 0);
  EXPECT_EQ(Weight::nearest(0x1p-18).q16, 0);
  EXPECT_EQ(Weight::nearest(1.0 / 3).q16, 21845);
  EXPECT_EQ(Weight::nearest(0.5).value(), 0.5);
}

TEST(ExactSumDeathTest, AWeightThatIsNoWeightIsABug) {
  EXPECT_DEATH((void)Weight::nearest(-1), "weight");
  EXPECT_DEATH((void)Weight::nearest(std::numeric_limits<double>::quiet_NaN()), "weight");
  EXPECT_DEATH((void)Weight::nearest(0x1p40), "weight");
}

}  // namespace
}  // namespace shoal::aggregation
