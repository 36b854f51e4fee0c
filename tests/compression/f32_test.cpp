#include "compression/f32.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "base/rng.h"

namespace shoal::compression {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<float> draw_values(std::size_t count, std::uint64_t seed) {
  Stream draw(seed, "values");
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(draw.normal());
  return values;
}

ValueVerdict judge(const std::vector<float>& values, double bound) {
  F32Check check(bound);
  check.add(std::as_bytes(std::span(values)));
  return check.verdict();
}

TEST(F32, BytesAreLittleEndian) {
  const std::vector<float> values = {1.0f, -2.5f};  // 3f800000, c0200000
  std::vector<std::byte> bytes(8);
  encode_f32(values, bytes);
  const std::vector<unsigned> expected = {0, 0, 0x80, 0x3f, 0, 0, 0x20, 0xc0};
  for (std::size_t i = 0; i < 8; ++i) EXPECT_EQ(std::to_integer<unsigned>(bytes[i]), expected[i]);
}

TEST(F32, DecodesWhatItEncoded) {
  std::vector<float> values = draw_values(4099, 1);
  values[7] = -0.0f;
  values[8] = std::numeric_limits<float>::denorm_min();
  std::vector<std::byte> bytes(values.size() * 4 + 1);
  const auto shifted = std::span(bytes).subspan(1);  // at an odd address
  encode_f32(values, shifted);
  std::vector<float> decoded(values.size());
  decode_f32(shifted, decoded);
  for (std::size_t i = 0; i < values.size(); ++i)
    EXPECT_EQ(std::bit_cast<std::uint32_t>(decoded[i]), std::bit_cast<std::uint32_t>(values[i]));
}

TEST(F32Check, AcceptsValuesUpToTheBound) {
  EXPECT_EQ(judge({}, 1), ValueVerdict::kFine);
  EXPECT_EQ(judge({0.5f, -0.5f, 0.0f}, 0.5), ValueVerdict::kFine);
  EXPECT_EQ(judge({std::nextafterf(0.5f, 1.0f)}, 0.5), ValueVerdict::kOutOfBound);
  EXPECT_EQ(judge({-std::nextafterf(0.5f, 1.0f)}, 0.5), ValueVerdict::kOutOfBound);
  // 0.1 is between two floats: the larger one is out.
  EXPECT_EQ(judge({0.1f}, 0.1), ValueVerdict::kOutOfBound);
  EXPECT_EQ(judge({std::nextafterf(0.1f, 0.0f)}, 0.1), ValueVerdict::kFine);
  EXPECT_EQ(judge({std::numeric_limits<float>::max()}, 1e300), ValueVerdict::kFine);
}

TEST(F32Check, FindsOneBadValueAnywhere) {
  const std::vector<float> fine = draw_values(301, 2);
  ASSERT_EQ(judge(fine, 10), ValueVerdict::kFine);
  for (std::size_t at = 0; at < fine.size(); ++at) {
    for (const auto& [bad, verdict] :
         {std::pair{kNan, ValueVerdict::kNotFinite}, std::pair{-kNan, ValueVerdict::kNotFinite},
          std::pair{kInfinity, ValueVerdict::kNotFinite}, std::pair{-kInfinity, ValueVerdict::kNotFinite},
          std::pair{11.0f, ValueVerdict::kOutOfBound}, std::pair{-11.0f, ValueVerdict::kOutOfBound}}) {
      std::vector<float> values = fine;
      values[at] = bad;
      ASSERT_EQ(judge(values, 10), verdict) << bad << " at " << at;
    }
  }
}

TEST(F32Check, NotFiniteWinsOverOutOfBound) { EXPECT_EQ(judge({100.0f, kNan, 100.0f}, 1), ValueVerdict::kNotFinite); }

TEST(F32Check, AnyCutGivesTheSameNorm) {
  const std::vector<float> values = draw_values(10007, 3);
  F32Check whole(10);
  whole.add(std::as_bytes(std::span(values)));
  double expected = 0;
  for (float value : values) expected += static_cast<double>(value) * value;
  EXPECT_NEAR(whole.norm(), std::sqrt(expected), 1e-9);
  Stream draw(3, "cuts");
  for (int round = 0; round < 100; ++round) {
    F32Check check(10);
    for (std::size_t at = 0; at < values.size();) {
      const std::size_t n = std::min<std::size_t>(draw.below(400), values.size() - at);
      check.add(std::as_bytes(std::span(values).subspan(at, n)));
      at += n;
    }
    ASSERT_EQ(check.norm(), whole.norm());
  }
}

}  // namespace
}  // namespace shoal::compression
