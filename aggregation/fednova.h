// FedNova: weights that undo the bias towards devices which make more local steps (Wang et al. 2020).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace shoal::aggregation {

// What decides how far one gradient moves a local model: SGD with momentum rho and a proximal pull mu.
struct LocalSgd {
  double learning_rate = 0;  // eta
  double momentum = 0;       // rho
  double proximal = 0;       // mu of FedProx
};

// ||a||_1 of `steps` local steps: the distance, in units of eta * gradient, that a constant gradient moves the model.
//   plain SGD  tau
//   momentum   (tau - rho (1 - rho^tau) / (1 - rho)) / (1 - rho)
//   proximal   (1 - (1 - eta mu)^tau) / (eta mu)
// Both together follow v <- rho v + g + mu (y - x), y <- y - eta v. O(log steps).
double step_norm(const LocalSgd& sgd, std::uint64_t steps);

// x <- x + scale * sum of weights[i] * delta[i].
struct NovaWeights {
  std::vector<double> weights;  // at most factors[i]
  double scale = 0;
};

// The normalised form of the average sum_i p_i delta_i with p_i = factors[i] / normaliser:
//   x <- x + tau_eff * sum_i p_i delta_i / norms[i],   tau_eff = sum_i p_i norms[i] / sum_i p_i
// With equal norms it is the plain average. Entries with norm 0 (no step was made) get weight 0. scale is 0 if all are.
// `factors` and `norms` have equal length and are not negative, normaliser > 0.
NovaWeights fednova(std::span<const double> factors, std::span<const double> norms, double normaliser);

}  // namespace shoal::aggregation
