// One step of local SGD in a single pass over each tensor: weight decay, proximal pull and momentum together.
#pragma once

#include <cstddef>

#include "protocol/training_spec.h"

namespace shoal::client::training {

// As torch.optim.SGD without dampening, plus the proximal term of FedProx (Li et al. 2020):
//   g <- g + weight_decay * w + proximal * (w - base);  v <- momentum * v + g;  w <- w - learning_rate * v
class SgdStep {
 public:
  explicit SgdStep(const protocol::TrainingSpec& spec)
      : rate_(static_cast<float>(spec.learning_rate)),
        momentum_(static_cast<float>(spec.momentum)),
        decay_(static_cast<float>(spec.weight_decay)),
        proximal_(static_cast<float>(spec.proximal)) {}

  float rate() const { return rate_; }
  bool has_momentum() const { return momentum_ != 0; }
  // Nothing but w <- w - learning_rate * g.
  bool plain() const { return momentum_ == 0 && decay_ == 0 && proximal_ == 0; }

  // All arrays hold n floats; `velocity` is zero before the first step, and may be null without momentum.
  void apply(float* weights, const float* gradient, const float* base, float* velocity, std::size_t n) const;

 private:
  float rate_, momentum_, decay_, proximal_;
};

}  // namespace shoal::client::training
