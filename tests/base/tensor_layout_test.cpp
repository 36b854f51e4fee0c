// Layouts: offsets and totals, and the refusals that keep arithmetic on them safe.
#include "base/tensor_layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shoal {
namespace {

using testing::HasSubstr;

std::string refusal(std::vector<TensorSpec> tensors) {
  const auto layout = TensorLayout::make(std::move(tensors));
  return layout.ok() ? "accepted" : layout.error().message();
}

TEST(TensorLayout, PlacesTensorsOneAfterTheOther) {
  const TensorLayout layout =
      TensorLayout::make({{"w", {3, 4}, "backbone"}, {"s", {}, "norm"}, {"b", {4}, "bias"}}).value();
  EXPECT_EQ(layout.offset(0), 0u);
  EXPECT_EQ(layout.count(0), 12u);
  EXPECT_EQ(layout.offset(1), 12u);
  EXPECT_EQ(layout.count(1), 1u) << "a scalar is one float";
  EXPECT_EQ(layout.offset(2), 13u);
  EXPECT_EQ(layout.total(), 17u);
  EXPECT_EQ(layout.tensors().size(), 3u);
}

TEST(TensorLayout, AnEmptyModelIsALayout) {
  EXPECT_EQ(TensorLayout().total(), 0u);
  EXPECT_EQ(TensorLayout::make({}).value(), TensorLayout());
  EXPECT_EQ(TensorLayout::make({{"empty", {0, 5}, "head"}}).value().total(), 0u);
}

TEST(TensorLayout, ComparesNamesShapesAndGroups) {
  const auto make = [](TensorSpec t) { return TensorLayout::make({std::move(t)}).value(); };
  EXPECT_EQ(make({"w", {2, 3}, "head"}), make({"w", {2, 3}, "head"}));
  EXPECT_NE(make({"w", {2, 3}, "head"}), make({"w", {3, 2}, "head"}));
  EXPECT_NE(make({"w", {2, 3}, "head"}), make({"v", {2, 3}, "head"}));
  EXPECT_NE(make({"w", {2, 3}, "head"}), make({"w", {2, 3}, "backbone"}));
}

TEST(TensorLayout, RefusesNamesThatAreEmptyOrRepeated) {
  EXPECT_THAT(refusal({{"", {1}, "head"}}), HasSubstr("empty name"));
  EXPECT_THAT(refusal({{"w", {1}, "head"}, {"w", {2}, "head"}}), HasSubstr("named w"));
}

TEST(TensorLayout, RefusesSizesThatOverflow) {
  const std::uint64_t huge = std::uint64_t{1} << 33;
  EXPECT_THAT(refusal({{"w", {huge, huge}, "head"}}), HasSubstr("too many elements"));
  EXPECT_THAT(refusal({{"w", {std::uint64_t{1} << 41}, "head"}}), HasSubstr("too many elements"));
  EXPECT_THAT(refusal({{"v", {std::uint64_t{1} << 40}, "head"}, {"w", {1}, "head"}}),
              HasSubstr("the model has too many"));
}

}  // namespace
}  // namespace shoal
