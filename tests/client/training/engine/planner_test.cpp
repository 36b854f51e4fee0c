#include "client/training/engine/planner.h"

#include <gtest/gtest.h>

#include "base/steady_clock.h"
#include "client/training/engine/fit.h"
#include "protocol/update_plan.h"

namespace shoal::client::training::engine {
namespace {

ModelDescription model() { return make_description("mobilenetv2-0.35-lite", {3, 32, 32}, 10).value(); }

TEST(Planner, AStatedMemoryIsEnoughAndLessIsNot) {
  const auto table =
      with_memory(protocol::parse_plan_table("full, lite+bias, bias, head").value(), model(), {}).value();
  const Graph graph = graph_of(model()).value();
  const TensorLayout layout = layout_of(model()).value();
  for (const protocol::PlanRow& row : table) {
    const std::vector<bool> trained = protocol::trained_by(row.plan, layout).value();
    EXPECT_TRUE(fit(graph, trained, {}, 10, row.memory.count).ok()) << row.plan;
    const auto less = fit(graph, trained, {}, 10, row.memory.count - 100'000);
    ASSERT_FALSE(less.ok()) << row.plan;
    EXPECT_EQ(less.error().code(), ErrorCode::kExhausted);
  }
  for (std::size_t i = 1; i < table.size(); ++i)
    EXPECT_LT(table[i].memory.count, table[i - 1].memory.count) << table[i].plan;
}

TEST(Planner, CandidatesFitTheBudgetOrSayWhatTheyNeed) {
  const SteadyClock clock;
  const auto free = candidates(model(), {}, 8, 0, clock).value();
  ASSERT_EQ(free.size(), 6u);
  EXPECT_EQ(free.front().plan, "full");
  EXPECT_EQ(free.back().plan, "head");
  for (const Candidate& c : free) {
    ASSERT_TRUE(c.fit) << c.plan;
    EXPECT_EQ(c.fit->way.options.examples, 8u) << "the fastest way";
    EXPECT_GT(c.fit->step_seconds, 0);
    EXPECT_LE(c.least, c.fit->arena);
  }
  const std::size_t budget = 4'000'000;
  for (const Candidate& c : candidates(model(), {}, 8, budget, clock).value()) {
    EXPECT_EQ(c.fit.has_value(), c.least <= budget) << c.plan;
    if (c.fit) EXPECT_LE(c.fit->arena, budget) << c.plan;
  }
}

TEST(Planner, KeepsWhatIsStated) {
  const auto table = with_memory(protocol::parse_plan_table("full:1GB, head").value(), model(), {}).value();
  EXPECT_EQ(table[0].memory.count, 1'000'000'000u);
  EXPECT_GT(table[1].memory.count, 0u);
}

TEST(Planner, RefusesAPlanThatTheModelDoesNotHave) {
  const ModelDescription plain = make_description("2nn", {1, 28, 28}, 10).value();
  const auto refused = with_memory(protocol::parse_plan_table("lite").value(), plain, {});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), ErrorCode::kInvalid);
}

}  // namespace
}  // namespace shoal::client::training::engine
