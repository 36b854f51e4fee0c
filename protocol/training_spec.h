// How a client trains: travels in every assignment, so that it is never configured twice.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "base/options.h"

namespace shoal::protocol {

enum class LocalOptimizerKind : std::uint8_t { kSgd, kAdam };
inline EnumNames<LocalOptimizerKind> enum_names(LocalOptimizerKind) {
  static constexpr std::array<std::pair<LocalOptimizerKind, std::string_view>, 2> kNames{
      {{LocalOptimizerKind::kSgd, "sgd"}, {LocalOptimizerKind::kAdam, "adam"}}};
  return kNames;
}
// Is there such an optimizer? Bytes from the wire may say anything.
inline bool known(LocalOptimizerKind kind) { return kind <= LocalOptimizerKind::kAdam; }

struct TrainingSpec {
  std::uint32_t epochs = 1;       // local epochs (E), when the policy does not set local steps
  std::uint32_t batch_size = 10;  // examples a step (B)
  LocalOptimizerKind optimizer = LocalOptimizerKind::kSgd;
  double learning_rate = 0.1;
  double momentum = 0;  // of SGD
  double weight_decay = 0;
  double proximal = 0;        // mu of FedProx (Li et al. 2018); 0 is plain local SGD
  std::string plan = "full";  // which parameters are trained (update_plan.h); of a job: its plan table (plan_table.h)

  template <class Visitor>
  void visit(Visitor& v) {
    v("epochs", epochs, between(1u, 10000u), "Local epochs (E), where the policy does not set local steps");
    v("batch_size", batch_size, between(1u, 65536u), "Examples in one local step (B)");
    v("optimizer", optimizer, any, "What local steps are made with: sgd or adam (beta 0.9 and 0.999)");
    v("learning_rate", learning_rate, between(0.0, 1e3), "Learning rate of local steps");
    v("momentum", momentum, between(0.0, 0.9999), "Momentum of local SGD");
    v("weight_decay", weight_decay, between(0.0, 1.0), "L2 penalty of local steps");
    v("proximal", proximal, between(0.0, 1e3), "FedProx: weight mu of the pull towards the global model");
    v("plan", plan, any,
      "Which parameters are trained: full, head, bias, norm, lite or lite+bias; or several, best first, of which a "
      "device "
      "trains the first that its budget allows");
  }
  template <class Archive>
  void fields(Archive& a) {
    a(epochs, batch_size, optimizer, learning_rate, momentum, weight_decay, proximal, plan);
  }
  friend bool operator==(const TrainingSpec&, const TrainingSpec&) = default;
};

}  // namespace shoal::protocol
