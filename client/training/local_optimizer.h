// What turns a gradient into a step, in a single pass over each tensor: weight decay, proximal pull, momentum or Adam.
#pragma once

#include <cstddef>
#include <cstdint>

#include "protocol/training_spec.h"

namespace shoal::client::training {

// How an optimizer's running means lie in memory. They are float32 while they are used.
enum class Moments : std::uint8_t {
  kFloat,
  kBfloat16,  // rounded to nearest
  kInt8,      // blocks of 256 with a scale of float32 each; of Adam's second moment the root; steps that grow with the
              // value, so that large and small ones fit into a block (after Dettmers et al. 2022)
};

// As torch.optim.SGD without dampening or torch.optim.Adam (Kingma and Ba 2015; beta 0.9 and 0.999, epsilon 1e-8), with
// the proximal term of FedProx (Li et al. 2020):
//   g <- g + weight_decay * w + proximal * (w - base)
class LocalOptimizer {
 public:
  explicit LocalOptimizer(const protocol::TrainingSpec& spec, Moments moments = Moments::kFloat);

  // SGD and nothing else: w <- w - rate * g.
  bool plain() const { return !adam_ && momentum_ == 0 && decay_ == 0 && proximal_ == 0; }
  float rate() const { return rate_; }
  // Bytes of state for a tensor of n values; all zero before the first step.
  std::size_t state_bytes(std::size_t n) const;

  // Step number `step`, from 1. weights, gradient and base hold n floats, `state` state_bytes(n). `state` is aligned as
  // float.
  void apply(float* weights, const float* gradient, const float* base, std::byte* state, std::size_t n,
             std::uint64_t step) const;

 private:
  bool adam_;
  Moments moments_;
  float rate_, momentum_, decay_, proximal_;
};

}  // namespace shoal::client::training
