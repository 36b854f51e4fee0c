#include <gtest/gtest.h>

#include <string>

#include "client/data/readers.h"

namespace shoal::client::data {
namespace {

Result<Dataset> read(const std::string& text, const ReadOptions& options = {}) {
  return read_csv(*bytes_in_memory({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}, "t.csv"),
                  options);
}

TEST(Csv, reads_numbers_labels_and_clients) {
  ReadOptions options;
  options.client_column = "owner";
  const Dataset data =
      read("a,label,owner,b\n1,2, ann ,-0.5\r\n\n 3e2 ,0,\"bo, \"\"jr\"\"\",4\n5,1,ann,6", options).value();
  EXPECT_EQ(data.shape, (std::vector<std::uint32_t>{2}));
  EXPECT_EQ(data.floats, (std::vector<float>{1, -0.5, 300, 4, 5, 6}));
  EXPECT_EQ(data.labels, (std::vector<std::uint32_t>{2, 0, 1}));
  EXPECT_EQ(data.classes, 3u);
  EXPECT_EQ(data.groups, (std::vector<std::uint32_t>{0, 1, 0}));
  EXPECT_EQ(data.group_names, (std::vector<std::string>{"ann", "bo, \"jr\""}));
}

TEST(Csv, numbers_words_in_sorted_order_or_as_told) {
  const std::string text = "x,kind\n1,dog\n2,cat\n3,dog\n";  // no column `label`: the last one
  EXPECT_EQ(read(text).value().labels, (std::vector<std::uint32_t>{1, 0, 1}));
  ReadOptions options;
  options.class_names = {"dog", "emu", "cat"};
  const Dataset told = read(text, options).value();
  EXPECT_EQ(told.labels, (std::vector<std::uint32_t>{0, 2, 0}));
  EXPECT_EQ(told.classes, 3u);
  options.class_names = {"dog", "emu"};
  EXPECT_FALSE(read(text, options).ok());
}

TEST(Csv, refuses_bad_lines_and_says_which) {
  const auto says = [](const std::string& text, const std::string& what) {
    const auto result = read(text);
    ASSERT_FALSE(result.ok()) << text;
    EXPECT_NE(result.error().message().find(what), std::string::npos) << result.error().message();
  };
  says("", "empty");
  says("a,label\n", "no examples");
  says("label\n1\n", "no column is left");
  says("a,label\n1,0\nx,1\n", "line 3: column 1 holds 'x'");
  says("a,label\n1,0\n2\n", "line 3: it has 1 cells");
  says("a,label\n1,0\n2,1,\n", "line 3: it has 3 cells");
  says("a,label\n\"1,0\n", "line 2: a quote is not closed");
  says("a,label\n\"1\"2,0\n", "line 2: a comma must follow");
  says("a,label\ninf,0\n1,1\n", "not finite");
  says("a,label\n1,0\n2,0\n", "one class");
  says("a,label\n" + std::string(2 << 20, '1') + ",0\n", "line 2: it is longer than 1 MiB");
  ReadOptions options;
  options.client_column = "owner";
  EXPECT_FALSE(read("a,label\n1,0\n2,1\n", options).ok());
}

TEST(Csv, does_not_take_more_memory_than_allowed) {
  ReadOptions options;
  options.memory_limit = Bytes{100};
  std::string text = "a,b,label\n";
  for (int i = 0; i < 9; ++i) text += "1,2," + std::to_string(i % 2) + "\n";
  EXPECT_EQ(read(text, options).error().code(), ErrorCode::kExhausted);
  options.memory_limit = Bytes{200};
  EXPECT_TRUE(read(text, options).ok());
}

}  // namespace
}  // namespace shoal::client::data
