// Random streams: the generator against its published vectors, and the distributions against their moments.
#include "base/rng.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <set>
#include <vector>

namespace shoal {
namespace {

constexpr int kDraws = 200000;

// Mean and variance of kDraws draws.
template <class Draw>
std::pair<double, double> moments(Draw draw) {
  double sum = 0, squares = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double x = draw();
    sum += x;
    squares += x * x;
  }
  const double mean = sum / kDraws;
  return {mean, squares / kDraws - mean * mean};
}

TEST(Rng, PhiloxMatchesThePublishedVectors) {
  // The known answers of Random123, philox4x32 with 10 rounds.
  using Block = std::array<std::uint32_t, 4>;
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Rng, DrawsArePinned) {
  // Journals, run folders and golden digests rely on these numbers; a change of any is a change of format.
  EXPECT_EQ(derive_seed(1, "pinned", 2, 3), 4225044680655630348u);
  Stream stream(1, "pinned", 2, 3);
  EXPECT_EQ(stream.next64(), 8370922722092608438u);
  EXPECT_EQ(stream.below(1000), 318u);
  EXPECT_EQ(stream.sample(100, 5), (std::vector<std::uint64_t>{64, 44, 4, 16, 50}));
}

TEST(Rng, ConsecutiveDrawsAreConsecutiveBlocks) {
  const std::uint64_t key = derive_seed(1, "blocks");
  const std::array<std::uint32_t, 2> words{static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)};
  Stream stream(1, "blocks");
  for (std::uint32_t block = 0; block < 3; ++block)
    for (const std::uint32_t expected : philox({block, 0, 0, 0}, words)) EXPECT_EQ(stream.next32(), expected);
}

TEST(Rng, SeedNameAndBothNumbersMakeOtherStreams) {
  std::set<std::uint64_t> seen;
  for (std::uint64_t seed : {0u, 1u})
    for (const char* name : {"", "a", "b", "ab"})
      for (std::uint64_t a : {0u, 1u, 2u})
        for (std::uint64_t b : {0u, 1u, 2u}) EXPECT_TRUE(seen.insert(Stream(seed, name, a, b).next64()).second);
}

TEST(Rng, ACopyContinuesAlike) {
  Stream stream(1, "copy");
  stream.normal();
  Stream copy = stream;
  EXPECT_EQ(stream.normal(), copy.normal()) << "the spare half of a normal pair is copied too";
  EXPECT_EQ(stream.next64(), copy.next64());
}

TEST(Rng, UniformFillsTheUnitInterval) {
  Stream stream(1, "uniform");
  double least = 1, most = 0;
  const auto [mean, variance] = moments([&] {
    const double x = stream.uniform();
    least = std::min(least, x);
    most = std::max(most, x);
    return x;
  });
  EXPECT_GE(least, 0.0);
  EXPECT_LT(most, 1.0);
  EXPECT_NEAR(mean, 0.5, 0.003);
  EXPECT_NEAR(variance, 1.0 / 12, 0.002);
}

TEST(Rng, BelowIsUniformAndInRange) {
  Stream stream(1, "below");
  std::array<int, 7> counts{};
  for (int i = 0; i < 70000; ++i) ++counts.at(stream.below(7));
  double chi_square = 0;
  for (const int n : counts) chi_square += (n - 10000.0) * (n - 10000.0) / 10000.0;
  EXPECT_LT(chi_square, 22.5) << "6 degrees of freedom, 0.1 % level";
  EXPECT_EQ(stream.below(1), 0u);
  // A bound just over half the range rejects half the draws.
  for (int i = 0; i < 100; ++i) EXPECT_LE(stream.below((std::uint64_t{1} << 63) + 1), std::uint64_t{1} << 63);
}

TEST(Rng, NormalHasItsMomentsAndTails) {
  Stream stream(1, "normal");
  int beyond_two = 0;
  const auto [mean, variance] = moments([&] {
    const double x = stream.normal();
    beyond_two += std::abs(x) > 2 ? 1 : 0;
    return x;
  });
  EXPECT_NEAR(mean, 0, 0.01);
  EXPECT_NEAR(variance, 1, 0.015);
  EXPECT_NEAR(beyond_two / static_cast<double>(kDraws), 0.0455, 0.002);
}

TEST(Rng, ExponentialHasItsMoments) {
  Stream stream(1, "exponential");
  const auto [mean, variance] = moments([&] { return stream.exponential(); });
  EXPECT_NEAR(mean, 1, 0.01);
  EXPECT_NEAR(variance, 1, 0.04);
}

TEST(Rng, GammaHasItsMomentsOnBothSidesOfShapeOne) {
  for (const double shape : {0.3, 1.0, 4.5}) {
    Stream stream(1, "gamma");
    const auto [mean, variance] = moments([&] { return stream.gamma(shape); });
    EXPECT_NEAR(mean, shape, 0.02 * shape + 0.005);
    EXPECT_NEAR(variance, shape, 0.05 * shape);
  }
}

TEST(Rng, DirichletSumsToOneAtEveryConcentration) {
  Stream stream(1, "dirichlet");
  for (const double concentration : {1e-4, 0.3, 1.0, 100.0}) {
    const std::vector<double> p = stream.dirichlet(10, concentration);
    EXPECT_NEAR(std::accumulate(p.begin(), p.end(), 0.0), 1, 1e-12);
    EXPECT_GE(*std::min_element(p.begin(), p.end()), 0.0);
  }
  const std::vector<double> even = stream.dirichlet(10, 1e5);
  EXPECT_NEAR(*std::max_element(even.begin(), even.end()), 0.1, 0.01) << "a high concentration is nearly even";
}

TEST(Rng, ShuffleIsAPermutationAndUniformOverPositions) {
  std::array<std::array<int, 4>, 4> counts{};
  Stream stream(1, "shuffle");
  for (int i = 0; i < 24000; ++i) {
    std::array<int, 4> items{0, 1, 2, 3};
    stream.shuffle(std::span<int>(items));
    for (std::size_t at = 0; at < 4; ++at) ++counts[at][static_cast<std::size_t>(items[at])];
  }
  for (const auto& row : counts)
    for (const int n : row) EXPECT_NEAR(n, 6000, 300);
}

TEST(Rng, SampleDrawsDistinctIndices) {
  Stream stream(1, "sample");
  for (const auto& [n, k] :
       std::vector<std::pair<std::uint64_t, std::uint64_t>>{{10, 0}, {10, 3}, {10, 10}, {1000000000000, 50}}) {
    const auto picked = stream.sample(n, k);
    EXPECT_EQ(picked.size(), k);
    EXPECT_EQ(std::set<std::uint64_t>(picked.begin(), picked.end()).size(), k);
    for (const std::uint64_t i : picked) EXPECT_LT(i, n);
  }
}

TEST(Rng, SampleIsUniform) {
  std::array<int, 5> counts{};
  Stream stream(1, "sample");
  for (int i = 0; i < 25000; ++i)
    for (const std::uint64_t index : stream.sample(5, 2)) ++counts.at(index);
  for (const int n : counts) EXPECT_NEAR(n, 10000, 350);
}

}  // namespace
}  // namespace shoal
