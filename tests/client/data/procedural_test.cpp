#include "client/data/procedural.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <set>

namespace shoal::client::data {
namespace {

using Image = std::array<std::uint8_t, 784>;

Image draw(std::uint64_t seed, bool test, std::uint32_t writer, std::uint32_t index) {
  Image pixels{};
  draw_glyph(seed, test, writer, index, pixels);
  return pixels;
}

std::uint64_t fingerprint(const Dataset& data) {
  std::uint64_t h = 0xCBF29CE484222325u;
  for (std::uint8_t b : data.bytes) h = (h ^ b) * 0x100000001B3u;
  for (std::uint32_t label : data.labels) h = (h ^ label) * 0x100000001B3u;
  return h;
}

TEST(Procedural, draws_each_example_from_its_numbers_alone) {
  const Image one = draw(1, false, 3, 4);
  EXPECT_EQ(one, draw(1, false, 3, 4));
  EXPECT_NE(one, draw(2, false, 3, 4));
  EXPECT_NE(one, draw(1, true, 3, 4));
  EXPECT_NE(one, draw(1, false, 4, 4));
  EXPECT_NE(one, draw(1, false, 3, 5));
}

TEST(Procedural, has_the_same_bits_on_every_machine) {
  const Dataset data = make_procedural({.seed = 1, .writers = 20, .examples = 20}).value();
  EXPECT_EQ(fingerprint(data), 1818651057594941412u);
}

TEST(Procedural, gives_a_device_its_own_writer_without_the_others) {
  const Dataset all = make_procedural({.seed = 5, .writers = 4, .examples = 10}).value();
  const Dataset third = make_procedural({.seed = 5, .first_writer = 2, .writers = 1, .examples = 10}).value();
  EXPECT_TRUE(std::equal(third.bytes.begin(), third.bytes.end(), all.bytes.begin() + 20 * 784));
  EXPECT_TRUE(std::equal(third.labels.begin(), third.labels.end(), all.labels.begin() + 20));
  EXPECT_EQ(third.group_names, (std::vector<std::string>{"writer 2"}));
  EXPECT_TRUE(check_dataset(all, "all").ok());
}

TEST(Procedural, skews_classes_within_writers_but_covers_all_over_many) {
  const Dataset data = make_procedural({.seed = 9, .writers = 50, .examples = 100}).value();
  std::vector<std::array<int, kGlyphClasses>> counts(50);
  std::array<int, kGlyphClasses> total{};
  for (std::size_t row = 0; row < data.rows(); ++row) {
    ++counts[data.groups[row]][data.labels[row]];
    ++total[data.labels[row]];
  }
  double favourite = 0;
  for (const auto& c : counts) favourite += *std::ranges::max_element(c) / 50.0;
  EXPECT_GT(favourite, 25);  // of 100 examples; 10 would be no skew
  EXPECT_LT(favourite, 70);
  EXPECT_GT(*std::ranges::min_element(total), 200);  // of 5,000
}

TEST(Procedural, leaves_ink_on_paper) {
  for (std::uint32_t writer = 0; writer < 30; ++writer) {
    const Image image = draw(1, false, writer, 0);
    const auto [paper, ink] = std::ranges::minmax(image);
    EXPECT_GT(ink - paper, 80) << writer;
    const auto dark = std::ranges::count_if(image, [&](std::uint8_t p) { return p > (paper + ink) / 2; });
    EXPECT_GT(dark, 10) << writer;
    EXPECT_LT(dark, 400) << writer;
  }
}

TEST(Procedural, refuses_impossible_counts) {
  EXPECT_FALSE(make_procedural({.writers = 0}).ok());
  EXPECT_FALSE(make_procedural({.examples = 0}).ok());
  EXPECT_FALSE(make_procedural({.writers = 1u << 20, .examples = 1u << 20}).ok());
  EXPECT_FALSE(make_procedural({.first_writer = UINT32_MAX, .writers = 2, .examples = 1}).ok());
}

}  // namespace
}  // namespace shoal::client::data
