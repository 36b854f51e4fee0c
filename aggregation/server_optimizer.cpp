#include "aggregation/server_optimizer.h"

#include <cmath>
#include <cstddef>

#include "base/check.h"
#include "base/vector_clones.h"

namespace shoal::aggregation {
namespace {

// What an adaptive step needs, rounded to float32 once.
struct Rates {
  float learning_rate, beta1, one_minus_beta1, beta2, one_minus_beta2, tau;
};

SHOAL_VECTOR_CLONES
void fedavg(float rate, const float* __restrict u, float* __restrict x, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) x[i] += rate * u[i];
}

SHOAL_VECTOR_CLONES
void fedavgm(float rate, float beta, const float* __restrict u, float* __restrict x, float* __restrict m,
             std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    m[i] = beta * m[i] + u[i];
    x[i] += rate * m[i];
  }
}

SHOAL_VECTOR_CLONES
void fedadagrad(Rates r, const float* __restrict u, float* __restrict x, float* __restrict m, float* __restrict v,
                std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    m[i] = r.beta1 * m[i] + r.one_minus_beta1 * u[i];
    v[i] += u[i] * u[i];
    x[i] += r.learning_rate * m[i] / (std::sqrt(v[i]) + r.tau);
  }
}

SHOAL_VECTOR_CLONES
void fedadam(Rates r, const float* __restrict u, float* __restrict x, float* __restrict m, float* __restrict v,
             std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    m[i] = r.beta1 * m[i] + r.one_minus_beta1 * u[i];
    v[i] = r.beta2 * v[i] + r.one_minus_beta2 * (u[i] * u[i]);
    x[i] += r.learning_rate * m[i] / (std::sqrt(v[i]) + r.tau);
  }
}

SHOAL_VECTOR_CLONES
void fedyogi(Rates r, const float* __restrict u, float* __restrict x, float* __restrict m, float* __restrict v,
             std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    const float square = u[i] * u[i];
    const float change = r.one_minus_beta2 * square;
    m[i] = r.beta1 * m[i] + r.one_minus_beta1 * u[i];
    v[i] -= v[i] > square ? change : v[i] < square ? -change : 0.0f;
    x[i] += r.learning_rate * m[i] / (std::sqrt(v[i]) + r.tau);
  }
}

}  // namespace

int state_arrays(ServerOptimizerKind kind) {
  switch (kind) {
    case ServerOptimizerKind::kFedAvg: return 0;
    case ServerOptimizerKind::kFedAvgM: return 1;
    case ServerOptimizerKind::kFedAdagrad:
    case ServerOptimizerKind::kFedAdam:
    case ServerOptimizerKind::kFedYogi: return 2;
  }
  check_failed(__FILE__, __LINE__, "unknown server optimizer");
}

float initial_state(const ServerOptimizerOptions& options, int array) {
  return array == 0 ? 0.0f : static_cast<float>(options.tau * options.tau);
}

void server_step(const ServerOptimizerOptions& options, std::span<const float> update, std::span<float> model,
                 std::span<float> first, std::span<float> second) {
  const std::size_t n = model.size();
  const int arrays = state_arrays(options.name);
  SHOAL_CHECK(update.size() == n, "an update is as long as its model");
  SHOAL_CHECK((arrays < 1 || first.size() == n) && (arrays < 2 || second.size() == n),
              "optimizer state is as long as its model");
  const Rates rates{.learning_rate = static_cast<float>(options.learning_rate),
                    .beta1 = static_cast<float>(options.momentum),
                    .one_minus_beta1 = static_cast<float>(1 - options.momentum),
                    .beta2 = static_cast<float>(options.second_momentum),
                    .one_minus_beta2 = static_cast<float>(1 - options.second_momentum),
                    .tau = static_cast<float>(options.tau)};
  switch (options.name) {
    case ServerOptimizerKind::kFedAvg: return fedavg(rates.learning_rate, update.data(), model.data(), n);
    case ServerOptimizerKind::kFedAvgM:
      return fedavgm(rates.learning_rate, rates.beta1, update.data(), model.data(), first.data(), n);
    case ServerOptimizerKind::kFedAdagrad:
      return fedadagrad(rates, update.data(), model.data(), first.data(), second.data(), n);
    case ServerOptimizerKind::kFedAdam:
      return fedadam(rates, update.data(), model.data(), first.data(), second.data(), n);
    case ServerOptimizerKind::kFedYogi:
      return fedyogi(rates, update.data(), model.data(), first.data(), second.data(), n);
  }
}

}  // namespace shoal::aggregation
