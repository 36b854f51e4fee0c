// What is drawn for whom: colors and Unicode by the environment, widths of text, tables and bars.
#include "cli/terminal.h"

#include <gtest/gtest.h>
#include <pty.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <string>

namespace shoal::cli {
namespace {

using Environment = std::map<std::string, std::string>;

Terminal terminal_with(int descriptor, const Environment& environment) {
  return terminal_of(descriptor, [&](const char* name) -> const char* {
    const auto found = environment.find(name);
    return found == environment.end() ? nullptr : found->second.c_str();
  });
}

// A real terminal of the kernel, 100 columns wide.
class TerminalTest : public testing::Test {
 protected:
  void SetUp() override {
    winsize size{};
    size.ws_col = 100;
    ASSERT_EQ(::openpty(&master_, &slave_, nullptr, nullptr, &size), 0);
  }
  void TearDown() override {
    ::close(master_);
    ::close(slave_);
  }
  int master_ = -1, slave_ = -1;
};

TEST_F(TerminalTest, ATerminalGetsColorsAndItsOwnWidth) {
  const Terminal t = terminal_with(slave_, {{"TERM", "xterm"}, {"LANG", "en_US.UTF-8"}});
  EXPECT_TRUE(t.interactive);
  EXPECT_TRUE(t.color);
  EXPECT_TRUE(t.unicode);
  EXPECT_EQ(t.columns, 100);
}

TEST_F(TerminalTest, NoColorIsHonoured) {
  const Terminal t = terminal_with(slave_, {{"TERM", "xterm"}, {"NO_COLOR", "1"}});
  EXPECT_TRUE(t.interactive);
  EXPECT_FALSE(t.color);
  EXPECT_TRUE(terminal_with(slave_, {{"TERM", "xterm"}, {"NO_COLOR", ""}}).color) << "an empty NO_COLOR does not count";
}

TEST_F(TerminalTest, DumbTerminalsAndPipesGetPlainLines) {
  EXPECT_FALSE(terminal_with(slave_, {{"TERM", "dumb"}}).interactive);
  int pipe[2];
  ASSERT_EQ(::pipe(pipe), 0);
  const Terminal t = terminal_with(pipe[1], {{"TERM", "xterm"}});
  EXPECT_FALSE(t.interactive);
  EXPECT_FALSE(t.color);
  ::close(pipe[0]);
  ::close(pipe[1]);
}

TEST_F(TerminalTest, TheLocaleDecidesAboutUnicode) {
  EXPECT_FALSE(terminal_with(slave_, {{"LANG", "C"}}).unicode);
  EXPECT_FALSE(terminal_with(slave_, {{"LC_ALL", "POSIX"}, {"LANG", "en_US.UTF-8"}}).unicode) << "LC_ALL comes first";
  EXPECT_TRUE(terminal_with(slave_, {{"LC_ALL", ""}, {"LANG", "de_DE.utf8"}}).unicode);
}

TEST(Text, WidthCountsCharactersNotBytesOrEscapes) {
  EXPECT_EQ(display_width("abc"), 3);
  EXPECT_EQ(display_width("Zürich"), 6);
  EXPECT_EQ(display_width("──"), 2);
  Terminal colored;
  colored.color = true;
  EXPECT_EQ(display_width(paint("abc", Color::kRed, colored)), 3);
  EXPECT_EQ(display_width("broken \033["), 7) << "an escape without an end runs to the end";
  EXPECT_EQ(paint("abc", Color::kRed, Terminal{}), "abc");
}

}  // namespace
}  // namespace shoal::cli
