#include "client/training/engine/fit.h"

#include <gtest/gtest.h>

#include "client/training/engine/onednn.h"
#include "protocol/update_plan.h"

namespace shoal::client::training::engine {
namespace {

struct Model {
  explicit Model(const char* name, const char* plan, std::uint32_t edge = 32) {
    use_one_thread();
    const ModelDescription description = make_description(name, {3, edge, edge}, 10).value();
    graph = graph_of(description).value();
    trained = protocol::trained_by(plan, layout_of(description).value()).value();
    wanted.spec.optimizer = protocol::LocalOptimizerKind::kAdam;
  }
  Result<Fitted> fitted(std::size_t budget) const { return fit(graph, trained, wanted, 8, budget); }

  Graph graph;
  std::vector<bool> trained;
  ProgramOptions wanted;
};

TEST(Fit, TakesTheFastestWayThatTheBudgetAllows) {
  const Model model("mobilenetv2-0.35-lite", "lite+bias");
  std::size_t before = SIZE_MAX;
  std::size_t budget = 0;
  std::vector<std::string> ways;
  for (int i = 0; i < 30; ++i) {
    const auto fitted = model.fitted(budget);
    if (!fitted.ok()) break;
    const std::size_t bytes = fitted->program->plan().bytes;
    EXPECT_TRUE(budget == 0 || bytes <= budget);
    EXPECT_LT(bytes, before);
    before = bytes;
    budget = bytes - 1;
    ways.push_back(fitted->way.text());
  }
  ASSERT_GT(ways.size(), 5u);
  EXPECT_EQ(ways.front(), "8 examples at a time");
  EXPECT_NE(ways.back().find("1 example at a time"), std::string::npos);
  EXPECT_NE(ways.back().find("moments in 8 bits"), std::string::npos);
}

TEST(Fit, SaysWhatTheSmallestWayNeeds) {
  const auto refused = Model("mobilenetv2-0.35-lite", "lite+bias").fitted(100'000);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), ErrorCode::kExhausted);
  EXPECT_NE(refused.error().message().find("at the least"), std::string::npos);
}

TEST(Fit, TriesPrecisionOnlyAfterWhatChangesNoResult) {
  const Model model("mobilenetv2-0.35-lite", "lite+bias");
  bool rough = false;
  for (const Way& way : ways_to_train(model.graph, model.trained, model.wanted, 8)) {
    const bool is_rough = way.options.frozen != FrozenWeights::kFloat || way.options.moments != Moments::kFloat;
    EXPECT_TRUE(is_rough || !rough) << way.text();
    rough = is_rough;
    EXPECT_EQ(way.options.accumulate, way.options.examples < 8);
  }
}

TEST(Fit, OffersNothingThatAModelHasNoUseFor) {
  Model model("cnn", "full");
  model.wanted.spec.optimizer = protocol::LocalOptimizerKind::kSgd;
  for (const Way& way : ways_to_train(model.graph, model.trained, model.wanted, 10)) {
    EXPECT_EQ(way.options.frozen, FrozenWeights::kFloat);
    EXPECT_EQ(way.options.moments, Moments::kFloat);
    EXPECT_TRUE(way.options.rematerialize.empty()) << "no layer has several operations";
  }
}

TEST(Fit, MakesBlocksOfTransformersAgain) {
  use_one_thread();
  const ModelDescription description = make_description("char-transformer-lora8", {40}, 97).value();
  const Graph graph = graph_of(description).value();
  for (const char* plan : {"full", "lora-b"}) {
    const auto trained = protocol::trained_by(plan, layout_of(description).value()).value();
    std::size_t plain = 0, again = 0;
    for (const Way& way : ways_to_train(graph, trained, {}, 8)) {
      if (way.options.examples != 8 || way.options.frozen != FrozenWeights::kFloat) continue;
      (way.options.rematerialize.empty() ? plain : again) =
          Program::compile(graph, trained, way.options).value()->plan().bytes;
    }
    EXPECT_GT(again, 0u);
    EXPECT_LT(again, plain) << plan;
  }
}

// TinyTL's model and plan, whose published 37 MB count neither gradients nor Adam's moments, nor what an exact gradient
// of the norms needs (docs/memory.md).
TEST(Fit, TrainsProxylessMobileIn45MegabytesWithExactGradients) {
  const ModelDescription description = make_description("proxyless-mobile-lite", {3, 224, 224}, 102).value();
  use_one_thread();
  const Graph graph = graph_of(description).value();
  const auto trained = protocol::trained_by("lite+bias", layout_of(description).value()).value();
  ProgramOptions wanted;
  wanted.spec.optimizer = protocol::LocalOptimizerKind::kAdam;
  const auto exact = fit(graph, trained, wanted, 8, 45'000'000);
  ASSERT_TRUE(exact.ok()) << exact.error().to_string();
  EXPECT_EQ(exact->way.options.moments, Moments::kFloat) << "without giving up precision there";

  wanted.norm_gradient = NormGradient::kConstant;
  EXPECT_TRUE(fit(graph, trained, wanted, 8, 37'000'000).ok());
  EXPECT_TRUE(fit(graph, trained, wanted, 1, 20'000'000).ok());
  wanted.spec.optimizer = protocol::LocalOptimizerKind::kSgd;
  EXPECT_TRUE(fit(graph, trained, wanted, 1, 16'000'000).ok());
}

}  // namespace
}  // namespace shoal::client::training::engine
