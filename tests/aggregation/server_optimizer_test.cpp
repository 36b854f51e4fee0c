#include "aggregation/server_optimizer.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <vector>

#include "base/rng.h"

namespace shoal::aggregation {
namespace {

using Kind = ServerOptimizerKind;
constexpr Kind kAll[] = {Kind::kFedAvg, Kind::kFedAvgM, Kind::kFedAdagrad, Kind::kFedAdam, Kind::kFedYogi};

struct State {
  std::vector<float> model, first, second;
  friend bool operator==(const State&, const State&) = default;
};

State initial(const ServerOptimizerOptions& options, std::size_t floats) {
  Stream draw(1, "model");
  State state{std::vector<float>(floats), std::vector<float>(floats, initial_state(options, 0)),
              std::vector<float>(floats, initial_state(options, 1))};
  for (float& x : state.model) x = static_cast<float>(draw.normal());
  return state;
}

std::vector<float> draw_update(std::size_t floats, std::uint64_t round) {
  Stream draw(2, "update", round);
  std::vector<float> update(floats);
  for (float& u : update) u = static_cast<float>(draw.normal() * 0.01);
  return update;
}

void step(const ServerOptimizerOptions& options, std::span<const float> update, State& state) {
  server_step(options, update, state.model, state.first, state.second);
}

// Table C in double, one coordinate at a time.
struct Twin {
  double x, m, v;
  void step(const ServerOptimizerOptions& o, double u) {
    if (o.name == Kind::kFedAvg) {
      x += o.learning_rate * u;
      return;
    }
    if (o.name == Kind::kFedAvgM) {
      m = o.momentum * m + u;
      x += o.learning_rate * m;
      return;
    }
    m = o.momentum * m + (1 - o.momentum) * u;
    if (o.name == Kind::kFedAdagrad) v += u * u;
    if (o.name == Kind::kFedAdam) v = o.second_momentum * v + (1 - o.second_momentum) * u * u;
    if (o.name == Kind::kFedYogi) v -= (1 - o.second_momentum) * u * u * (v > u * u ? 1 : v < u * u ? -1 : 0);
    x += o.learning_rate * m / (std::sqrt(v) + o.tau);
  }
};

TEST(ServerOptimizer, FollowsItsFormulaOverManyRounds) {
  constexpr std::size_t kFloats = 777;
  for (Kind kind : kAll) {
    ServerOptimizerOptions options{.name = kind, .learning_rate = 0.03};
    State state = initial(options, kFloats);
    std::vector<Twin> twins;
    for (float x : state.model) twins.push_back({x, 0, options.tau * options.tau});
    for (std::uint64_t round = 0; round < 50; ++round) {
      const std::vector<float> update = draw_update(kFloats, round);
      step(options, update, state);
      for (std::size_t i = 0; i < kFloats; ++i) twins[i].step(options, update[i]);
    }
    for (std::size_t i = 0; i < kFloats; ++i)
      ASSERT_NEAR(state.model[i], twins[i].x, 1e-4 * (1 + std::abs(twins[i].x)))
          << name_of(kind) << " coordinate " << i;
  }
}

TEST(ServerOptimizer, FedAvgWithRateOneAddsTheUpdate) {
  ServerOptimizerOptions options;
  State state = initial(options, 100);
  const State before = state;
  const std::vector<float> update = draw_update(100, 0);
  step(options, update, state);
  for (std::size_t i = 0; i < 100; ++i) EXPECT_EQ(state.model[i], before.model[i] + update[i]);
}

TEST(ServerOptimizer, TilesOfAnySizeGiveTheSameBits) {
  constexpr std::size_t kFloats = 4099;
  for (Kind kind : kAll) {
    const ServerOptimizerOptions options{.name = kind, .learning_rate = 0.1};
    State whole = initial(options, kFloats), tiled = whole;
    Stream draw(3, "cuts", static_cast<std::uint64_t>(kind));
    for (std::uint64_t round = 0; round < 10; ++round) {
      const std::vector<float> update = draw_update(kFloats, round);
      step(options, update, whole);
      for (std::size_t at = 0; at < kFloats;) {
        const std::size_t n = std::min<std::size_t>(1 + draw.below(700), kFloats - at);
        server_step(options, std::span(update).subspan(at, n), std::span(tiled.model).subspan(at, n),
                    std::span(tiled.first).subspan(at, n), std::span(tiled.second).subspan(at, n));
        at += n;
      }
    }
    EXPECT_EQ(whole, tiled) << name_of(kind);
  }
}

// One coordinate at a time cannot be vectorised: the plain machine instructions, in float32.
TEST(ServerOptimizer, VectorInstructionsGiveTheBitsOfScalarOnes) {
  constexpr std::size_t kFloats = 1000;
  for (Kind kind : kAll) {
    const ServerOptimizerOptions options{.name = kind, .learning_rate = 0.1};
    State vector = initial(options, kFloats), scalar = vector;
    for (std::uint64_t round = 0; round < 20; ++round) {
      const std::vector<float> update = draw_update(kFloats, round);
      step(options, update, vector);
      for (std::size_t i = 0; i < kFloats; ++i)
        server_step(options, std::span(update).subspan(i, 1), std::span(scalar.model).subspan(i, 1),
                    std::span(scalar.first).subspan(i, 1), std::span(scalar.second).subspan(i, 1));
    }
    EXPECT_EQ(vector, scalar) << name_of(kind);
  }
}

TEST(ServerOptimizer, ANullUpdateMovesNothingAtTheStart) {
  for (Kind kind : kAll) {
    const ServerOptimizerOptions options{.name = kind};
    State state = initial(options, 64);
    const std::vector<float> model = state.model;
    step(options, std::vector<float>(64, 0.0f), state);
    EXPECT_EQ(state.model, model) << name_of(kind);
  }
}

TEST(ServerOptimizer, StateIsAsTheMethodNeedsIt) {
  EXPECT_EQ(state_arrays(Kind::kFedAvg), 0);
  EXPECT_EQ(state_arrays(Kind::kFedAvgM), 1);
  for (Kind kind : {Kind::kFedAdagrad, Kind::kFedAdam, Kind::kFedYogi}) EXPECT_EQ(state_arrays(kind), 2);
  const ServerOptimizerOptions options{.name = Kind::kFedAdam, .tau = 0.5};
  EXPECT_EQ(initial_state(options, 0), 0.0f);
  EXPECT_EQ(initial_state(options, 1), 0.25f);
}

}  // namespace
}  // namespace shoal::aggregation
