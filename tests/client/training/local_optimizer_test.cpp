#include "client/training/local_optimizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/rng.h"

namespace shoal::client::training {
namespace {

protocol::TrainingSpec adam() {
  protocol::TrainingSpec spec;
  spec.optimizer = protocol::LocalOptimizerKind::kAdam;
  spec.learning_rate = 0.01;
  spec.weight_decay = 0.001;
  spec.proximal = 0.1;
  return spec;
}

// Some steps on gradients that depend on nothing but the step.
std::vector<float> descend(const LocalOptimizer& optimizer, std::size_t n, int steps) {
  Stream draw(3, "optimizer");
  std::vector<float> base(n), weights, gradient(n);
  for (float& w : base) w = static_cast<float>(draw.uniform() - 0.5);
  weights = base;
  std::vector<std::byte> state(optimizer.state_bytes(n));
  for (int step = 1; step <= steps; ++step) {
    for (std::size_t i = 0; i < n; ++i) gradient[i] = static_cast<float>(draw.uniform() - 0.3) * (i % 7 == 0 ? 100 : 1);
    optimizer.apply(weights.data(), gradient.data(), base.data(), state.data(), n, static_cast<std::uint64_t>(step));
  }
  return weights;
}

TEST(LocalOptimizer, AdamIsItsPublishedFormula) {
  const protocol::TrainingSpec spec = adam();
  Stream draw(3, "optimizer");
  constexpr std::size_t n = 300;
  std::vector<double> base(n), w, m(n), v(n);
  for (double& b : base) b = static_cast<float>(draw.uniform() - 0.5);
  w = base;
  for (int t = 1; t <= 20; ++t)
    for (std::size_t i = 0; i < n; ++i) {
      double g = static_cast<float>(draw.uniform() - 0.3) * (i % 7 == 0 ? 100 : 1);
      g += spec.weight_decay * w[i] + spec.proximal * (w[i] - base[i]);
      m[i] = 0.9 * m[i] + 0.1 * g;
      v[i] = 0.999 * v[i] + 0.001 * g * g;
      w[i] -=
          spec.learning_rate * (m[i] / (1 - std::pow(0.9, t))) / (std::sqrt(v[i] / (1 - std::pow(0.999, t))) + 1e-8);
    }
  const std::vector<float> got = descend(LocalOptimizer(spec), n, 20);
  for (std::size_t i = 0; i < n; ++i) EXPECT_NEAR(got[i], w[i], 1e-5);
}

TEST(LocalOptimizer, SmallerMomentsGoNearlyTheSameWay) {
  for (const std::size_t n : {1u, 255u, 256u, 1000u}) {
    const std::vector<float> exact = descend(LocalOptimizer(adam()), n, 30),
                             start = descend(LocalOptimizer(adam()), n, 0);
    double way = 0;
    for (std::size_t i = 0; i < n; ++i) way += std::pow(exact[i] - start[i], 2);
    for (const auto& [moments, tolerance] : {std::pair(Moments::kBfloat16, 0.01), std::pair(Moments::kInt8, 0.2)}) {
      const std::vector<float> rough = descend(LocalOptimizer(adam(), moments), n, 30);
      double off = 0;
      for (std::size_t i = 0; i < n; ++i) off += std::pow(rough[i] - exact[i], 2);
      EXPECT_LT(std::sqrt(off), tolerance * std::sqrt(way)) << n;
    }
  }
}

// One step from zero moments, value by value as its formula says: vectors and std::lrint agree in every bit.
TEST(LocalOptimizer, MomentsInEightBitsAreThoseOfAPlainLoop) {
  protocol::TrainingSpec spec;
  spec.optimizer = protocol::LocalOptimizerKind::kAdam;
  const LocalOptimizer optimizer(spec, Moments::kInt8);
  for (const std::size_t n : {1u, 17u, 256u, 300u, 1000u}) {
    Stream draw(n, "gradient");
    std::vector<float> weights(n), gradient(n);
    for (float& g : gradient) g = static_cast<float>(std::pow(draw.uniform() - 0.5, 5));
    std::vector<std::byte> state(optimizer.state_bytes(n));
    optimizer.apply(weights.data(), gradient.data(), weights.data(), state.data(), n, 1);
    const std::size_t blocks = (n + 255) / 256;
    const auto* means = reinterpret_cast<const std::int8_t*>(state.data() + 4 * blocks);
    const auto* squares = reinterpret_cast<const std::uint8_t*>(state.data() + state.size() / 2 + 4 * blocks);
    for (std::size_t first = 0; first < n; first += 256) {
      float mean = 0, square = 0;  // the largest of the block
      const auto mean_of = [&](std::size_t i) { return (1 - 0.9f) * gradient[i]; };
      const auto square_of = [&](std::size_t i) { return (1 - 0.999f) * gradient[i] * gradient[i]; };
      const std::size_t end = std::min(n, first + 256);
      for (std::size_t i = first; i < end; ++i) {
        mean = std::max(mean, std::abs(mean_of(i)));
        square = std::max(square, square_of(i));
      }
      for (std::size_t i = first; i < end; ++i) {
        const auto q = std::lrint(127 * std::sqrt(std::abs(mean_of(i)) * (1 / mean)));
        ASSERT_EQ(means[i], mean_of(i) < 0 ? -q : q) << i << " of " << n;
        ASSERT_EQ(squares[i],
                  std::clamp(std::lrint(255 * std::sqrt(std::sqrt(square_of(i)) * (1 / std::sqrt(square)))), 1L, 255L));
      }
    }
  }
}

TEST(LocalOptimizer, ItsStateIsAsSmallAsItSays) {
  protocol::TrainingSpec sgd;
  EXPECT_TRUE(LocalOptimizer(sgd).plain());
  EXPECT_EQ(LocalOptimizer(sgd).state_bytes(1000), 0u);
  sgd.momentum = 0.9;
  EXPECT_EQ(LocalOptimizer(sgd).state_bytes(1000), 4000u);
  EXPECT_EQ(LocalOptimizer(adam()).state_bytes(1024), 8192u);
  EXPECT_EQ(LocalOptimizer(adam(), Moments::kBfloat16).state_bytes(1024), 4096u);
  EXPECT_EQ(LocalOptimizer(adam(), Moments::kInt8).state_bytes(1024), 2 * (1024 + 16u));
}

TEST(LocalOptimizer, MomentumIsThatOfPyTorch) {
  protocol::TrainingSpec spec;
  spec.learning_rate = 0.5;
  spec.momentum = 0.9;
  spec.weight_decay = 0.1;
  float w = 1, base = 1;
  float v = 0;
  std::byte state[4] = {};
  for (std::uint64_t t = 1; t <= 3; ++t) {
    const float g = static_cast<float>(t);
    LocalOptimizer(spec).apply(&w, &g, &base, state, 1, t);
  }
  float expected = 1;
  for (int t = 1; t <= 3; ++t) {
    v = 0.9f * v + (static_cast<float>(t) + 0.1f * expected);
    expected -= 0.5f * v;
  }
  EXPECT_FLOAT_EQ(w, expected);
}

}  // namespace
}  // namespace shoal::client::training
