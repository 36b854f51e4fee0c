// Checks: silent when they hold, one line and an abort when they do not.
#include "base/check.h"

#include <gtest/gtest.h>

namespace shoal {
namespace {

TEST(Check, EvaluatesItsConditionOnce) {
  int times = 0;
  SHOAL_CHECK(++times == 1, "once");
  EXPECT_EQ(times, 1);
}

TEST(CheckDeathTest, NamesFileLineAndMessage) {
  EXPECT_DEATH(SHOAL_CHECK(1 + 1 == 3, "sums are off"), "check_test.cpp:[0-9]+: bug: sums are off");
}

}  // namespace
}  // namespace shoal
