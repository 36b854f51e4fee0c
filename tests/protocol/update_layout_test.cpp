#include "protocol/update_layout.h"

#include <gtest/gtest.h>

#include <vector>

namespace shoal::protocol {
namespace {

TensorLayout layout() {
  return TensorLayout::make({{"a.weight", {2, 3}, "backbone"},
                             {"a.bias", {2}, "bias"},
                             {"empty", {0}, "bias"},
                             {"b.weight", {4}, "backbone"},
                             {"fc.weight", {2, 2}, "head"},
                             {"fc.bias", {2}, "head"}})
      .value();
}

std::vector<UpdateRange> ranges_of(const UpdateLayout& update) {
  return {update.ranges().begin(), update.ranges().end()};
}

TEST(UpdateLayout, HoldsTrainedTensorsInTheModelsOrder) {
  const UpdateLayout update = update_layout("bias", layout()).value();
  EXPECT_EQ(ranges_of(update), (std::vector<UpdateRange>{{6, 0, 2}, {12, 2, 6}}));
  EXPECT_EQ(update.floats(), 8u);
}

TEST(UpdateLayout, NeighboursAreOneRange) {
  EXPECT_EQ(ranges_of(update_layout("full", layout()).value()), (std::vector<UpdateRange>{{0, 0, 18}}));
  EXPECT_EQ(ranges_of(UpdateLayout::whole(18)), (std::vector<UpdateRange>{{0, 0, 18}}));
}

TEST(UpdateLayout, OfNothingIsEmpty) {
  EXPECT_EQ(UpdateLayout().floats(), 0u);
  EXPECT_EQ(UpdateLayout(std::vector<bool>(6), layout()).floats(), 0u);
  EXPECT_EQ(UpdateLayout::whole(0).floats(), 0u);
}

TEST(UpdateLayout, IsOneForEachRowOfATable) {
  const auto updates = update_layouts("full, head:1MB", layout()).value();
  ASSERT_EQ(updates.size(), 2u);
  EXPECT_EQ(updates[0].floats(), 18u);
  EXPECT_EQ(updates[1].floats(), 6u);
}

TEST(UpdateLayout, RefusesPlansThatTheModelDoesNotHave) {
  EXPECT_EQ(update_layout("lite", layout()).error().code(), ErrorCode::kInvalid);
  EXPECT_EQ(update_layout("everything", layout()).error().code(), ErrorCode::kInvalid);
  EXPECT_EQ(update_layouts("full, norm", layout()).error().code(), ErrorCode::kInvalid);
}

}  // namespace
}  // namespace shoal::protocol
