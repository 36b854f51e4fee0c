#include "client/data/dataset.h"

#include <gtest/gtest.h>

namespace shoal::client::data {
namespace {

Dataset pixels(std::vector<std::uint32_t> labels, std::uint32_t classes, std::uint8_t ink) {
  Dataset set;
  set.shape = {1, 2, 2};
  set.classes = classes;
  set.bytes.assign(labels.size() * 4, ink);
  set.groups.assign(labels.size(), 0);
  set.group_names = {"writer"};
  set.labels = std::move(labels);
  return set;
}

TEST(Append, GivesTheSecondSetClassesOfItsOwn) {
  Dataset both = pixels({0, 2, 1}, 3, 10);
  ASSERT_TRUE(append(both, pixels({1, 0}, 2, 20)).ok());
  EXPECT_TRUE(check_dataset(both, "both").ok());
  EXPECT_EQ(both.classes, 5u);
  EXPECT_EQ(both.labels, (std::vector<std::uint32_t>{0, 2, 1, 4, 3}));
  EXPECT_TRUE(both.groups.empty());
  std::vector<float> example(4);
  both.example(3, example);
  EXPECT_FLOAT_EQ(example[0], 20.0f / 255);
}

TEST(Append, RefusesExamplesOfAnotherShapeOrKind) {
  Dataset set = pixels({0, 1}, 2, 1);
  Dataset wide = pixels({0, 1}, 2, 1);
  wide.shape = {1, 1, 4};
  EXPECT_EQ(append(set, wide).error().code(), ErrorCode::kInvalid);
  Dataset real = pixels({0, 1}, 2, 1);
  real.floats.assign(real.bytes.begin(), real.bytes.end());
  real.bytes.clear();
  EXPECT_EQ(append(set, real).error().code(), ErrorCode::kInvalid);
  Dataset text;
  text.shape = {1, 2, 2};
  text.classes = 2;
  text.tokens.assign(8, 1);
  text.starts = {0, 4};
  text.labels = {0, 1};
  EXPECT_EQ(append(set, text).error().code(), ErrorCode::kInvalid);
  EXPECT_EQ(set.rows(), 2u) << "nothing was added";
}

}  // namespace
}  // namespace shoal::client::data
