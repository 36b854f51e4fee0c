// Server optimizers: from the pseudo-gradient u = scale * sum_i w_i delta_i to the next model, one tile at a time.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/options.h"

namespace shoal::aggregation {

enum class ServerOptimizerKind : std::uint8_t { kFedAvg, kFedAvgM, kFedAdagrad, kFedAdam, kFedYogi };
inline EnumNames<ServerOptimizerKind> enum_names(ServerOptimizerKind) {
  static constexpr std::array<std::pair<ServerOptimizerKind, std::string_view>, 5> kNames{
      {{ServerOptimizerKind::kFedAvg, "fedavg"},
       {ServerOptimizerKind::kFedAvgM, "fedavgm"},
       {ServerOptimizerKind::kFedAdagrad, "fedadagrad"},
       {ServerOptimizerKind::kFedAdam, "fedadam"},
       {ServerOptimizerKind::kFedYogi, "fedyogi"}}};
  return kNames;
}

struct ServerOptimizerOptions {
  ServerOptimizerKind name = ServerOptimizerKind::kFedAvg;
  double learning_rate = 1.0;     // eta_g
  double momentum = 0.9;          // FedAvgM's beta, and beta_1 of the adaptive ones (FedAdagrad: 0 in the paper)
  double second_momentum = 0.99;  // beta_2 of FedAdam and FedYogi
  double tau = 1e-3;              // adaptivity; the second moment starts at tau^2

  template <class Visitor>
  void visit(Visitor& v) {
    v("name", name, any, "fedavg, fedavgm, fedadagrad, fedadam or fedyogi");
    v("learning_rate", learning_rate, between(0.0, 1e3), "Server learning rate");
    v("momentum", momentum, between(0.0, 0.9999), "FedAvgM's momentum, first-moment decay of the adaptive ones");
    v("second_momentum", second_momentum, between(0.0, 0.999999), "Second-moment decay of FedAdam and FedYogi");
    v("tau", tau, between(1e-12, 1.0), "Adaptivity: added to the root of the second moment");
  }
  template <class Archive>
  void fields(Archive& a) {
    a(name, learning_rate, momentum, second_momentum, tau);
  }
};

// Arrays of state, each as long as the model: 0 (FedAvg), 1 (FedAvgM) or 2 (first and second moment).
int state_arrays(ServerOptimizerKind kind);

// The value that a new job's state arrays are filled with: 0 for the first, tau^2 for the second.
float initial_state(const ServerOptimizerOptions& options, int array);

// One step on a tile. `model`, `update` and each used state span have the same length; model and state are
// updated in place. State spans beyond state_arrays() are ignored. Elementwise, in float32, without contraction:
// the result does not depend on tiling. Reddi et al. 2021 (adaptive ones, no bias correction), Hsu et al. 2019
// (FedAvgM).
void server_step(const ServerOptimizerOptions& options, std::span<const float> update, std::span<float> model,
                 std::span<float> first, std::span<float> second);

}  // namespace shoal::aggregation
