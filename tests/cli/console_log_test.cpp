// The log on standard error: one line for each, levels below the least dropped, no colors in a file.
#include "cli/console_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace shoal::cli {
namespace {

TEST(ConsoleLog, WritesLinesWithTimeAndLevel) {
  ::testing::internal::CaptureStderr();
  make_console_log(LogLevel::kInfo)->info("sampled 10 of 100 devices round=3");
  EXPECT_THAT(::testing::internal::GetCapturedStderr(),
              ::testing::MatchesRegex("[0-9-]+T[0-9:.]+ info    sampled 10 of 100 devices round=3\n"));
}

TEST(ConsoleLog, DropsWhatIsBelowItsLevel) {
  ::testing::internal::CaptureStderr();
  const auto log = make_console_log(LogLevel::kWarning);
  log->debug("no");
  log->info("no");
  log->warn("first");
  log->error("second {} %s");
  const std::string text = ::testing::internal::GetCapturedStderr();
  EXPECT_THAT(text, ::testing::Not(::testing::HasSubstr("no")));
  EXPECT_THAT(text, ::testing::HasSubstr("second {} %s")) << "lines are text, not formats";
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2);
}

}  // namespace
}  // namespace shoal::cli
