// How a client trains: travels in every assignment, so that it is never configured twice.
#pragma once

#include <cstdint>
#include <string>

#include "base/options.h"

namespace shoal::protocol {

struct TrainingSpec {
  std::uint32_t epochs = 1;       // local epochs (E), when the policy does not set local steps
  std::uint32_t batch_size = 10;  // examples a step (B)
  double learning_rate = 0.1;     // SGD
  double momentum = 0;
  double weight_decay = 0;
  double proximal = 0;        // mu of FedProx (Li et al. 2018); 0 is plain local SGD
  std::string plan = "full";  // which parameters are trained

  template <class Visitor>
  void visit(Visitor& v) {
    v("epochs", epochs, between(1u, 10000u), "Local epochs (E), where the policy does not set local steps");
    v("batch_size", batch_size, between(1u, 65536u), "Examples in one local step (B)");
    v("learning_rate", learning_rate, between(0.0, 1e3), "Learning rate of local SGD");
    v("momentum", momentum, between(0.0, 0.9999), "Momentum of local SGD");
    v("weight_decay", weight_decay, between(0.0, 1.0), "L2 penalty of local SGD");
    v("proximal", proximal, between(0.0, 1e3), "FedProx: weight mu of the pull towards the global model");
    v("plan", plan, any, "Which parameters are trained: full, head, bias, norm, lite or lite+bias");
  }
  template <class Archive>
  void fields(Archive& a) {
    a(epochs, batch_size, learning_rate, momentum, weight_decay, proximal, plan);
  }
  friend bool operator==(const TrainingSpec&, const TrainingSpec&) = default;
};

}  // namespace shoal::protocol
