#include "aggregation/fednova.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

namespace shoal::aggregation {
namespace {

// How far a constant gradient of 1 moves a model, step by step, in units of the learning rate.
double walked(const LocalSgd& sgd, int steps) {
  double y = 0, v = 0;
  for (int k = 0; k < steps; ++k) {
    v = sgd.momentum * v + 1 + sgd.proximal * y;
    y -= sgd.learning_rate * v;
  }
  return -y / sgd.learning_rate;
}

TEST(StepNorm, CountsTheStepsOfPlainSgd) {
  for (std::uint64_t steps : {0u, 1u, 2u, 7u, 100u, 12345u})
    EXPECT_DOUBLE_EQ(step_norm({0.1, 0, 0}, steps), static_cast<double>(steps));
}

TEST(StepNorm, FollowsThePublishedFormulaOfMomentum) {
  for (double rho : {0.1, 0.5, 0.9, 0.99}) {
    for (int tau : {1, 2, 5, 60, 1000}) {
      const double published = (tau - rho * (1 - std::pow(rho, tau)) / (1 - rho)) / (1 - rho);
      EXPECT_NEAR(step_norm({0.1, rho, 0}, static_cast<std::uint64_t>(tau)) / published, 1, 1e-11) << rho << " " << tau;
    }
  }
}

TEST(StepNorm, FollowsThePublishedFormulaOfTheProximalTerm) {
  for (double mu : {0.001, 0.1, 1.0}) {
    for (int tau : {1, 2, 5, 60, 1000}) {
      const double pull = 0.1 * mu;
      const double published = (1 - std::pow(1 - pull, tau)) / pull;
      EXPECT_NEAR(step_norm({0.1, 0, mu}, static_cast<std::uint64_t>(tau)) / published, 1, 1e-11) << mu << " " << tau;
    }
  }
}

TEST(StepNorm, IsTheDistanceThatAConstantGradientMoves) {
  for (const LocalSgd sgd :
       {LocalSgd{0.1, 0, 0}, LocalSgd{0.05, 0.9, 0}, LocalSgd{0.1, 0, 0.5}, LocalSgd{0.1, 0.5, 0.1}})
    for (int steps = 0; steps < 70; ++steps)
      EXPECT_NEAR(step_norm(sgd, static_cast<std::uint64_t>(steps)), walked(sgd, steps),
                  1e-9 * (1 + walked(sgd, steps)));
}

TEST(StepNorm, ManyStepsCostLittle) { EXPECT_NEAR(step_norm({0.1, 0.5, 0}, std::uint64_t{1} << 50), 0x1p51, 1e3); }

TEST(FedNova, EqualStepsAreThePlainAverage) {
  const NovaWeights nova = fednova(std::vector<double>{2, 3, 5}, std::vector<double>{40, 40, 40}, 10);
  const std::vector<double> expected = {0.2, 0.3, 0.5};
  for (std::size_t i = 0; i < 3; ++i) EXPECT_DOUBLE_EQ(nova.weights[i] * nova.scale, expected[i]);
}

TEST(FedNova, EveryUpdateCountsAsItsDirection) {
  const std::vector<double> factors = {2, 3, 5}, norms = {10, 40, 160};
  const NovaWeights nova = fednova(factors, norms, 10);
  const double tau_eff = 0.2 * 10 + 0.3 * 40 + 0.5 * 160;
  for (std::size_t i = 0; i < 3; ++i)
    EXPECT_NEAR(nova.weights[i] * nova.scale, tau_eff * factors[i] / 10 / norms[i], 1e-12);
}

TEST(FedNova, NoWeightIsAboveItsFactor) {
  const std::vector<double> factors = {1, 0.5, 0.25, 1}, norms = {3, 1000, 0.5, 1};
  const NovaWeights nova = fednova(factors, norms, 4);
  for (std::size_t i = 0; i < factors.size(); ++i) {
    EXPECT_LE(nova.weights[i], factors[i]);
    EXPECT_GT(nova.weights[i], 0);
  }
}

TEST(FedNova, StaleWeightsKeepTheirShareOfTheStep) {
  // Factors that add up to half of the normaliser move the model half as far.
  const NovaWeights nova = fednova(std::vector<double>{0.5, 0.5}, std::vector<double>{20, 20}, 2);
  EXPECT_DOUBLE_EQ(nova.weights[0] * nova.scale, 0.25);
}

TEST(FedNova, UpdatesWithoutAStepAreDropped) {
  const NovaWeights nova = fednova(std::vector<double>{1, 1}, std::vector<double>{0, 8}, 2);
  EXPECT_EQ(nova.weights[0], 0);
  EXPECT_DOUBLE_EQ(nova.weights[1] * nova.scale, 0.5);
  const NovaWeights none = fednova(std::vector<double>{1}, std::vector<double>{0}, 1);
  EXPECT_EQ(none.weights[0], 0);
  EXPECT_EQ(none.scale, 0);
}

}  // namespace
}  // namespace shoal::aggregation
