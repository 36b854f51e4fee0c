// Progress on a terminal and in a log.
#include "cli/progress_bar.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <limits>
#include <string>

namespace shoal::cli {
namespace {

using testing::EndsWith;
using testing::HasSubstr;

// What `use` writes to a stream.
template <class Use>
std::string written(Use use) {
  char* text = nullptr;
  std::size_t size = 0;
  std::FILE* stream = ::open_memstream(&text, &size);
  use(stream);
  std::fclose(stream);
  std::string result(text, size);
  std::free(text);
  return result;
}

TEST(Bar, FillsInEighthsOfACell) {
  EXPECT_EQ(bar(0, 4, true), "    ");
  EXPECT_EQ(bar(0.5, 4, true), "██  ");
  EXPECT_EQ(bar(1.0 / 32, 4, true), "▏   ");
  EXPECT_EQ(bar(1, 4, true), "████");
  EXPECT_EQ(bar(0.5, 4, false), "##..");
  EXPECT_EQ(bar(7, 2, false), "##") << "more than all is all";
  EXPECT_EQ(bar(std::numeric_limits<double>::quiet_NaN(), 2, false), "..");
}

TEST(ProgressBar, IsPlainLinesInALog) {
  const std::string text = written([](std::FILE* out) {
    ProgressBar progress(out, Terminal{});
    progress.show(1, 2, "round 1/2");
    progress.say("a line");
    progress.show(2, 2, "round 2/2");
  });
  EXPECT_EQ(text, "round 1/2\na line\nround 2/2\n");
}

TEST(ProgressBar, RedrawsOneLineOnATerminal) {
  Terminal terminal;
  terminal.interactive = true;
  const std::string text = written([&](std::FILE* out) {
    ProgressBar progress(out, terminal);
    progress.show(1, 2, "round 1/2");
    progress.say("a line");
    progress.show(2, 2, "round 2/2");
    progress.finish();
    progress.finish();
  });
  EXPECT_THAT(text, HasSubstr("\r\033[2K############............  round 1/2"));
  EXPECT_THAT(text, HasSubstr("\r\033[2Ka line\n"));
  EXPECT_THAT(text, EndsWith("round 2/2\n")) << "the last state stands, with one newline";
}

TEST(ProgressBar, NeverWraps) {
  Terminal terminal;
  terminal.interactive = true;
  terminal.columns = 40;
  const std::string text = written([&](std::FILE* out) {
    ProgressBar progress(out, terminal);
    progress.show(1, 2, std::string(200, 'x'));
  });
  EXPECT_LE(display_width(text) - 2, 40) << "apart from carriage return and newline";
}

}  // namespace
}  // namespace shoal::cli
