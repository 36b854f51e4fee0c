#include "protocol/plan_table.h"

#include <gtest/gtest.h>

namespace shoal::protocol {
namespace {

TEST(PlanTable, GoesThroughText) {
  const std::vector<PlanRow> table{{"full", {392'000'000}}, {"lite+bias", {43'300'000}}, {"head", {}}};
  EXPECT_EQ(to_text(table), "full:392MB, lite+bias:43.3MB, head");
  EXPECT_EQ(parse_plan_table(to_text(table)).value(), table);
  EXPECT_EQ(parse_plan_table("full:392MB,lite+bias: 43.3MB ,head").value(), table);
  for (const std::uint64_t bytes : {1u, 99'999u, 100'000u, 900'000u, 1'000'001u, 1u << 20})
    EXPECT_EQ(parse_plan_table(to_text({{{"head", {bytes}}}})).value()[0].memory.count, bytes);
  EXPECT_EQ(parse_plan_table("full").value(), (std::vector<PlanRow>{{"full", {}}}));
}

TEST(PlanTable, RefusesWhatIsNone) {
  for (const char* text :
       {"", ",", "full,", "full, full", "fully", "full:", "full:many", "full:1MB:2MB", "full head"}) {
    const auto table = parse_plan_table(text);
    ASSERT_FALSE(table.ok()) << text;
    EXPECT_EQ(table.error().code(), ErrorCode::kInvalid) << text;
  }
}

TEST(PlanTable, ADeviceGetsTheFirstPlanThatItsBudgetAllows) {
  const auto table = parse_plan_table("full:400MB, lite+bias:43MB, bias:20MB").value();
  EXPECT_EQ(plan_for(table, 0), 0u) << "not stated";
  EXPECT_EQ(plan_for(table, 400'000'000), 0u);
  EXPECT_EQ(plan_for(table, 399'999'999), 1u);
  EXPECT_EQ(plan_for(table, 20'000'000), 2u);
  EXPECT_EQ(plan_for(table, 19'999'999), std::nullopt);
  EXPECT_EQ(plan_for(parse_plan_table("full:400MB, head").value(), 1), 1u) << "memory not known: anybody's";
}

}  // namespace
}  // namespace shoal::protocol
