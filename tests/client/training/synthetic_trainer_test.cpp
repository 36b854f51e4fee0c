#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "client/training/trainer.h"

namespace shoal::client::training {
namespace {

class SyntheticTrainer : public testing::Test {
 protected:
  std::vector<float> train(std::uint32_t steps, std::uint64_t seed) {
    std::vector<float> delta(base.size());
    const auto outcome = trainer->train(base, {}, rows, {}, steps, seed, delta, {}).value();
    EXPECT_EQ(outcome.steps, steps == 0 ? 1u : steps);
    return delta;
  }

  std::vector<std::uint32_t> rows{0, 1, 2};
  std::unique_ptr<Trainer> trainer =
      make_synthetic_trainer(TensorLayout::make({{"a", {1000}, "backbone"}, {"b", {7}, "head"}}).value());
  std::vector<float> base = std::vector<float>(1007, 0.5f);
};

TEST_F(SyntheticTrainer, gives_a_delta_that_depends_on_base_steps_and_seed) {
  const std::vector<float> delta = train(5, 1);
  EXPECT_EQ(delta, train(5, 1));
  EXPECT_NE(delta, train(6, 1));
  EXPECT_NE(delta, train(5, 2));
  base[0] = 0.25f;
  EXPECT_NE(delta, train(5, 1));
}

TEST_F(SyntheticTrainer, stays_within_its_bound_and_spreads_over_it) {
  const std::vector<float> delta = train(0, 1);
  const auto [low, high] = std::ranges::minmax(delta);
  EXPECT_GE(low, -0.01f);
  EXPECT_LE(high, 0.01f);
  EXPECT_LT(low, -0.009f);
  EXPECT_GT(high, 0.009f);
}

TEST_F(SyntheticTrainer, gives_up_and_refuses_like_a_real_one) {
  std::vector<float> delta(base.size());
  const auto stopped = trainer->train(base, {}, rows, {}, 9, 1, delta, [] { return false; });
  ASSERT_FALSE(stopped.ok());
  EXPECT_EQ(stopped.error().code(), ErrorCode::kTimeout);
  EXPECT_FALSE(trainer->train(base, {}, {}, {}, 9, 1, delta, {}).ok());
}

TEST_F(SyntheticTrainer, makes_up_metrics_that_depend_on_the_model) {
  const auto facts = trainer->evaluate(base, {}, rows).value();
  EXPECT_EQ(facts.samples, 3u);
  EXPECT_LE(facts.correct, 3u);
  base.back() = 3;
  base[0] = 4;
  EXPECT_NE(trainer->evaluate(base, {}, rows).value().loss_sum, facts.loss_sum);
}

}  // namespace
}  // namespace shoal::client::training
