// Time at its ends: conversions saturate instead of wrapping around.
#include "base/time.h"

#include <gtest/gtest.h>

#include <limits>

namespace shoal {
namespace {

TEST(TimeConversion, SecondsRoundTrip) {
  EXPECT_EQ(from_seconds(1.5), std::chrono::milliseconds(1500));
  EXPECT_EQ(to_seconds(std::chrono::milliseconds(1500)), 1.5);
  EXPECT_EQ(from_seconds(-2), -std::chrono::seconds(2));
}

TEST(TimeConversion, SaturatesAndSurvivesNaN) {
  EXPECT_EQ(from_seconds(1e300), Duration::max());
  EXPECT_EQ(from_seconds(-1e300), Duration::min());
  EXPECT_EQ(from_seconds(std::numeric_limits<double>::infinity()), Duration::max());
  EXPECT_EQ(from_seconds(std::numeric_limits<double>::quiet_NaN()), Duration::zero());
}

TEST(TimeConversion, AddingStopsAtTheEndOfTime) {
  EXPECT_EQ(saturating_add(kNever - Duration(5), Duration(6)), kNever);
  EXPECT_EQ(saturating_add(kNever, Duration(1)), kNever);
  EXPECT_EQ(saturating_add(Time{}, Duration(7)), Time{} + Duration(7));
  EXPECT_EQ(saturating_add(Time{Duration(7)}, Duration(-3)), Time{Duration(4)});
}

}  // namespace
}  // namespace shoal
