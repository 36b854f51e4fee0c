#include "client/training/sgd.h"

#include "base/vector_clones.h"

namespace shoal::client::training {
namespace {

SHOAL_VECTOR_CLONES void descend(float* weights, const float* gradient, float rate, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) weights[i] -= rate * gradient[i];
}

SHOAL_VECTOR_CLONES void descend(float* weights, const float* gradient, const float* base, float decay, float proximal,
                                 float rate, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i)
    weights[i] -= rate * (gradient[i] + decay * weights[i] + proximal * (weights[i] - base[i]));
}

SHOAL_VECTOR_CLONES void descend(float* weights, const float* gradient, const float* base, float* velocity, float decay,
                                 float proximal, float momentum, float rate, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    const float step = gradient[i] + decay * weights[i] + proximal * (weights[i] - base[i]);
    velocity[i] = momentum * velocity[i] + step;
    weights[i] -= rate * velocity[i];
  }
}

}  // namespace

void SgdStep::apply(float* weights, const float* gradient, const float* base, float* velocity, std::size_t n) const {
  if (plain())
    descend(weights, gradient, rate_, n);
  else if (velocity == nullptr)
    descend(weights, gradient, base, decay_, proximal_, rate_, n);
  else
    descend(weights, gradient, base, velocity, decay_, proximal_, momentum_, rate_, n);
}

}  // namespace shoal::client::training
