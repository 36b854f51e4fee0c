#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <string>

#include "client/data/characters.h"
#include "client/data/partition.h"
#include "client/data/readers.h"

namespace shoal::client::data {
namespace {

Result<Dataset> read(const std::string& text, std::uint32_t window, std::uint32_t step = 1,
                     std::uint64_t limit = 1 << 20) {
  ReadOptions options;
  options.window = window;
  options.window_step = step;
  options.memory_limit = Bytes{limit};
  return read_text(*bytes_in_memory({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}, "t.txt"),
                   options);
}

char letter(float id) {
  return id == kLineEnd ? '\n' : id == kOtherCharacter ? '?' : static_cast<char>(static_cast<int>(id) - 2 + ' ');
}

// "window>next" of every row.
std::vector<std::string> shown(const Dataset& data) {
  std::vector<std::string> rows;
  std::vector<float> example(data.example_size());
  for (std::size_t r = 0; r < data.rows(); ++r) {
    data.example(r, example);
    std::string row;
    for (const float id : example) row += letter(id);
    rows.push_back(row + ">" + letter(static_cast<float>(data.labels[r])));
  }
  return rows;
}

TEST(Characters, AreTheSameIdsEverywhere) {
  EXPECT_EQ(character_of('\n'), 1);
  EXPECT_EQ(character_of(' '), 2);
  EXPECT_EQ(character_of('\t'), 2);
  EXPECT_EQ(character_of('A'), 35);
  EXPECT_EQ(character_of('~'), 96);
  EXPECT_EQ(character_of(7), 0);
  EXPECT_EQ(character_of(0xC3), 0);
  EXPECT_FALSE(character_of(0xA4));
  EXPECT_FALSE(character_of('\r'));
  std::set<int> ids;
  for (int byte = 0; byte < 256; ++byte)
    if (const auto id = character_of(static_cast<std::uint8_t>(byte))) ids.insert(*id);
  EXPECT_EQ(ids.size(), kCharacters);
  EXPECT_EQ(*ids.rbegin() + 1, static_cast<int>(kCharacters));
}

TEST(Text, IsReadAsWindowsAndTheCharacterThatFollows) {
  const Dataset data = read("abcde\n", 3).value();
  EXPECT_EQ(data.shape, (std::vector<std::uint32_t>{3}));
  EXPECT_EQ(data.classes, kCharacters);
  EXPECT_EQ(shown(data), (std::vector<std::string>{"abc>d", "bcd>e", "cde>\n"}));
  EXPECT_TRUE(data.groups.empty());
  EXPECT_EQ(shown(read("abcdefgh", 2, 3).value()), (std::vector<std::string>{"ab>c", "de>f"}));
  EXPECT_EQ(shown(read("abcdefghi", 2, 3).value()), (std::vector<std::string>{"ab>c", "de>f", "gh>i"}));
  EXPECT_EQ(shown(read("ab\r\nh\xC3\xA4\tx", 4, 2).value()), (std::vector<std::string>{"ab\nh>?", "\nh? >x"}));
}

TEST(Text, OfAPlayBelongsToItsSpeakers) {
  const Dataset data = read(
                           "First Citizen:\nSo it is.\n\nALL:\nNo!\n\nFirst Citizen:\nAy:\n\nROSALIND:\nTime: now.\n"
                           "\nThe rest: silence.\n",
                           4)
                           .value();
  EXPECT_EQ(data.group_names, (std::vector<std::string>{"First Citizen", "ROSALIND"})) << "ALL says too little";
  std::string first, second;
  for (std::size_t r = 0; r < data.rows(); ++r) (data.groups[r] == 0 ? first : second) += shown(data)[r].substr(5);
  EXPECT_EQ(first, "t is.\nAy:\n");
  EXPECT_EQ(second, ": now.\nThe rest: silence.\n");
  EXPECT_EQ(partition_rows(data, {.kind = PartitionKind::kNatural, .clients = 0}, 1).value().size(), 2u);
}

TEST(Text, ThatIsNoPlayIsOneText) {
  const std::string text = "A note.\n\nRemark:\nnothing\n";
  const Dataset data = read(text, 5).value();
  EXPECT_TRUE(data.groups.empty());
  EXPECT_EQ(data.rows(), text.size() - 5);
}

TEST(Text, OfLongLinesIsReadWhole) {
  const std::string text = "ANN:\n" + std::string(500'000, 'x') + "y:\n\n" + std::string(200, 'z') + ":\n";
  const Dataset data = read(text, 10, 1000, 1 << 26).value();
  EXPECT_EQ(data.tokens.size(), 500'000u + 3 + 202);
  EXPECT_EQ(data.group_names, (std::vector<std::string>{"ANN"})) << "a name has at most 64 characters";
}

TEST(Text, RefusesWhatIsNoneOrTooShort) {
  const auto says = [](const Result<Dataset>& result, ErrorCode code, const std::string& what) {
    ASSERT_FALSE(result.ok()) << what;
    EXPECT_EQ(result.error().code(), code);
    EXPECT_NE(result.error().message().find(what), std::string::npos) << result.error().message();
    EXPECT_NE(result.error().message().find("t.txt"), std::string::npos);
  };
  says(read("", 3), ErrorCode::kInvalid, "no text");
  says(read("\r\r\r\r\r", 3), ErrorCode::kInvalid, "no text");
  says(read("abc", 3), ErrorCode::kInvalid, "not longer than a window of 3");
  says(read("ANN:\nab\n\nBOB:\ncd\n", 3), ErrorCode::kInvalid, "no speaker");
  says(read(std::string("abc\0def", 7), 3), ErrorCode::kInvalid, "byte of 0");
  says(read("\xD0\xB0\xD0\xB1\xD0\xB2\xD0\xB3\n", 3), ErrorCode::kInvalid, "half of its characters");
  says(read("abcdef", 0), ErrorCode::kInvalid, "at least one");
  says(read("abcdef", 3, 0), ErrorCode::kInvalid, "at least one");
  says(read(std::string(5000, 'a') + "b", 3, 1, 20'000), ErrorCode::kExhausted, "window_step");
  says(read(std::string(200'000, 'a'), 3, 1, 20'000), ErrorCode::kExhausted, "memory limit");
  EXPECT_TRUE(read(std::string(5000, 'a') + "b", 3, 10, 20'000).ok());
}

TEST(Text, KeepsSomeRowsAndTheTextUnderThem) {
  Dataset data = read("abcdefghijklmnopqrstuvwxyz", 4).value();
  const std::vector<std::string> all = shown(data);
  const std::vector<std::uint32_t> rows{1, 2, 3, 10, 20, 21};
  data.keep(rows);
  EXPECT_EQ(data.tokens.size(), 6u + 4 + 5);
  std::vector<std::string> want;
  for (const std::uint32_t row : rows) want.push_back(all[row]);
  EXPECT_EQ(shown(data), want);
  EXPECT_TRUE(check_dataset(data, "kept").ok());
}

TEST(Text, OfShakespeareHasTheSpeakersThatWereCounted) {
  const char* named = std::getenv("SHOAL_DATA");
  const std::string file = (named != nullptr ? std::string(named) : std::string(SHOAL_SOURCE_DIR "/../shared/data")) +
                           "/tinyshakespeare/input.txt.gz";
  if (!std::filesystem::is_regular_file(file))
    GTEST_SKIP() << "no " << file << "; set SHOAL_DATA to its folder's parent";
  ReadOptions options;
  options.window = 1;
  const Dataset data = read_dataset(file, "train", options).value();
  EXPECT_EQ(data.group_names.size(), 299u) << "of 309, ten of whom are ghosts that speak in the lines of others";
  std::vector<std::size_t> characters(309, 1);  // the first has no window before it
  for (const std::uint32_t group : data.groups) ++characters[group];
  const auto of = [&](std::string_view name) {
    return characters[static_cast<std::size_t>(std::ranges::find(data.group_names, name) - data.group_names.begin())];
  };
  EXPECT_EQ(of("GLOUCESTER"), 37616u);
  EXPECT_EQ(of("LEONTES"), 25568u);
  EXPECT_EQ(read_dataset(file, "test").error().code(), ErrorCode::kNotFound);
}

}  // namespace
}  // namespace shoal::client::data
