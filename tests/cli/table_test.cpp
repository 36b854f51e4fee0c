// Tables as people see them.
#include "cli/table.h"

#include <gtest/gtest.h>

namespace shoal::cli {
namespace {

Table sample(const Terminal& terminal) {
  Table table({{"JOB", Align::kRight}, {"NAME"}, {"STATE"}});
  table.add({"1", "Zürich", paint("ok", Color::kGreen, terminal)});
  table.add({"12345", "b", "bad"});
  return table;
}

TEST(Table, AlignsColumnsByWhatIsSeen) {
  Terminal unicode;
  unicode.unicode = true;
  EXPECT_EQ(sample(unicode).render(unicode),
            "  JOB  NAME    STATE\n"
            "─────  ──────  ─────\n"
            "    1  Zürich  ok\n"
            "12345  b       bad\n");
}

TEST(Table, FallsBackToAscii) {
  EXPECT_EQ(sample(Terminal{}).render(Terminal{}),
            "  JOB  NAME    STATE\n"
            "-----  ------  -----\n"
            "    1  Zürich  ok\n"
            "12345  b       bad\n");
}

TEST(Table, ColorsDoNotMoveColumns) {
  Terminal colored;
  colored.color = true;
  const std::string text = sample(colored).render(colored);
  EXPECT_NE(text.find("\033[32mok\033[0m"), std::string::npos);
  for (std::size_t at = 0, end; (end = text.find('\n', at)) != std::string::npos; at = end + 1)
    EXPECT_LE(display_width(text.substr(at, end - at)), 20);
}

TEST(Table, FactsLineUp) {
  EXPECT_EQ(render_facts({{"name", "x"}, {"a long one", "y"}}, Terminal{}), "name        x\na long one  y\n");
}

TEST(TableDeathTest, ARowOfAnotherLengthIsABug) {
  Table table({{"A"}, {"B"}});
  EXPECT_DEATH(table.add({"one"}), "one cell for each column");
}

}  // namespace
}  // namespace shoal::cli
