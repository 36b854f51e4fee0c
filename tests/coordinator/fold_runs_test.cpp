#include "coordinator/fold_runs.h"

#include <gtest/gtest.h>

namespace shoal::coordinator {
namespace {

using aggregation::Weight;
using protocol::UpdateLayout;

TensorLayout layout() { return TensorLayout::make({{"a", {10}, ""}, {"b", {20}, ""}, {"c", {30}, ""}}).value(); }

action::Fold fold(std::vector<std::pair<std::uint8_t, double>> entries) {
  action::Fold fold;
  fold.scale = 0.3;
  for (const auto& [plan, weight] : entries)
    fold.entries.push_back({AssignmentId{fold.entries.size() + 1}, Weight::nearest(weight), plan});
  return fold;
}

TEST(FoldRuns, WhatAllTrainedKeepsTheFoldsScaleToTheBit) {
  const UpdateLayout whole = UpdateLayout::whole(60);
  const auto runs = fold_runs(fold({{0, 1.7}, {0, 0.3}}), {&whole, 1});
  ASSERT_EQ(runs.size(), 1u);
  EXPECT_EQ(runs[0].count, 60u);
  EXPECT_EQ(runs[0].factor, 0.3);
  EXPECT_EQ(runs[0].update[0], 0u);
}

TEST(FoldRuns, EachHasItsOwnNormalisation) {
  const std::vector<UpdateLayout> plans{UpdateLayout({true, false, true}, layout()),
                                        UpdateLayout({false, false, true}, layout())};
  const auto runs = fold_runs(fold({{0, 1}, {1, 3}}), plans);
  ASSERT_EQ(runs.size(), 2u);
  EXPECT_EQ(runs[0].model, 0u);
  EXPECT_EQ(runs[0].packed, 0u);
  EXPECT_EQ(runs[0].count, 10u);
  EXPECT_DOUBLE_EQ(runs[0].factor, 0.3 * 4);
  EXPECT_EQ(runs[0].update[0], 0u);
  EXPECT_EQ(runs[0].update[1], std::nullopt);
  EXPECT_EQ(runs[1].model, 30u);
  EXPECT_EQ(runs[1].packed, 10u);
  EXPECT_EQ(runs[1].count, 30u);
  EXPECT_EQ(runs[1].factor, 0.3);
  EXPECT_EQ(runs[1].update[0], 10u);
  EXPECT_EQ(runs[1].update[1], 0u);
}

TEST(FoldRuns, EntriesWithoutWeightTrainNothing) {
  const std::vector<UpdateLayout> plans{UpdateLayout({true, true, false}, layout()),
                                        UpdateLayout({false, true, false}, layout())};
  const auto runs = fold_runs(fold({{0, 0}, {1, 2}}), plans);
  ASSERT_EQ(runs.size(), 1u);
  EXPECT_EQ(runs[0].model, 10u);
  EXPECT_EQ(runs[0].count, 20u);
  EXPECT_EQ(runs[0].factor, 0.3);
  EXPECT_TRUE(fold_runs(fold({{0, 0}}), plans).empty());
}

}  // namespace
}  // namespace shoal::coordinator
