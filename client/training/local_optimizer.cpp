#include "client/training/local_optimizer.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/vector_clones.h"

namespace shoal::client::training {
namespace {

constexpr std::size_t kBlock = 256;
constexpr float kBeta1 = 0.9f, kBeta2 = 0.999f, kEpsilon = 1e-8f;

std::size_t blocks(std::size_t n) { return (n + kBlock - 1) / kBlock; }

// Of one running mean of n values.
std::size_t moment_bytes(Moments moments, std::size_t n) {
  switch (moments) {
    case Moments::kFloat: return n * sizeof(float);
    case Moments::kBfloat16: return (n + 1) / 2 * 2 * sizeof(std::uint16_t);
    case Moments::kInt8: return blocks(n) * (kBlock + sizeof(float));
  }
  return 0;
}

SHOAL_VECTOR_CLONES void descend(float* weights, const float* gradient, float rate, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) weights[i] -= rate * gradient[i];
}

// step[i] = gradient[i] + decay * weights[i] + proximal * (weights[i] - base[i])
SHOAL_VECTOR_CLONES void pull(const float* weights, const float* gradient, const float* base, float decay,
                              float proximal, float* step, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) step[i] = gradient[i] + decay * weights[i] + proximal * (weights[i] - base[i]);
}

SHOAL_VECTOR_CLONES void roll(float* velocity, const float* step, float momentum, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) velocity[i] = momentum * velocity[i] + step[i];
}

SHOAL_VECTOR_CLONES void adam(float* weights, const float* gradient, float* mean, float* square, float rate,
                              float root_correction, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    mean[i] = kBeta1 * mean[i] + (1 - kBeta1) * gradient[i];
    square[i] = kBeta2 * square[i] + (1 - kBeta2) * gradient[i] * gradient[i];
    weights[i] -= rate * mean[i] / (std::sqrt(square[i]) * root_correction + kEpsilon);
  }
}

// ---- running means as they lie in memory, a block at a time ----

SHOAL_VECTOR_CLONES void from_bfloat16(const std::uint16_t* from, float* to, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) to[i] = std::bit_cast<float>(static_cast<std::uint32_t>(from[i]) << 16);
}
SHOAL_VECTOR_CLONES void to_bfloat16(const float* from, std::uint16_t* to, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    const auto bits = std::bit_cast<std::uint32_t>(from[i]);
    to[i] = static_cast<std::uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
  }
}

// One running mean. The second moment of Adam is never negative, and its root is what matters.
class Moment {
 public:
  Moment(Moments moments, std::byte* state, std::size_t n, bool is_square)
      : moments_(moments), state_(state), n_(n), is_square_(is_square) {}

  // The values of a block as floats: in place, or in `scratch`.
  float* open(std::size_t first, std::size_t n, float* scratch) const {
    switch (moments_) {
      case Moments::kFloat: return reinterpret_cast<float*>(state_) + first;
      case Moments::kBfloat16: from_bfloat16(halves() + first, scratch, n); break;
      case Moments::kInt8: {
        const float scale = scales()[first / kBlock];
        for (std::size_t i = 0; i < n; ++i) {
          if (is_square_) {
            const auto q = static_cast<float>(reinterpret_cast<const std::uint8_t*>(bytes())[first + i]);
            scratch[i] = scale * q * q * scale * q * q;
          } else {
            const auto q = static_cast<float>(bytes()[first + i]);
            scratch[i] = scale * q * std::abs(q);
          }
        }
        break;
      }
    }
    return scratch;
  }

  void close(std::size_t first, std::size_t n, const float* values) const {
    if (moments_ == Moments::kBfloat16) to_bfloat16(values, halves() + first, n);
    if (moments_ == Moments::kInt8) is_square_ ? close_square(first, n, values) : close_mean(first, n, values);
  }

 private:
  std::uint16_t* halves() const { return reinterpret_cast<std::uint16_t*>(state_); }
  float* scales() const { return reinterpret_cast<float*>(state_); }
  std::int8_t* bytes() const { return reinterpret_cast<std::int8_t*>(state_ + blocks(n_) * sizeof(float)); }

  // Steps grow with the square of the value, so that a block may hold values of very different size.
  void close_mean(std::size_t first, std::size_t n, const float* values) const {
    float largest = 0;
    for (std::size_t i = 0; i < n; ++i) largest = std::max(largest, std::abs(values[i]));
    scales()[first / kBlock] = largest / (127 * 127);
    const float inverse = largest > 0 ? 1 / largest : 0;
    for (std::size_t i = 0; i < n; ++i) {
      const auto q = std::lrint(127 * std::sqrt(std::abs(values[i]) * inverse));
      bytes()[first + i] = static_cast<std::int8_t>(values[i] < 0 ? -q : q);
    }
  }
  // Never rounded to 0: a denominator that vanished would make a huge step.
  void close_square(std::size_t first, std::size_t n, const float* values) const {
    float largest = 0;
    for (std::size_t i = 0; i < n; ++i) largest = std::max(largest, values[i]);
    largest = std::sqrt(largest);
    scales()[first / kBlock] = largest / (255 * 255);
    const float inverse = largest > 0 ? 1 / largest : 0;
    for (std::size_t i = 0; i < n; ++i) {
      const auto q = std::lrint(255 * std::sqrt(std::sqrt(values[i]) * inverse));
      reinterpret_cast<std::uint8_t*>(bytes())[first + i] = static_cast<std::uint8_t>(std::clamp(q, 1L, 255L));
    }
  }

  Moments moments_;
  std::byte* state_;
  std::size_t n_;
  bool is_square_;
};

}  // namespace

LocalOptimizer::LocalOptimizer(const protocol::TrainingSpec& spec, Moments moments)
    : adam_(spec.optimizer == protocol::LocalOptimizerKind::kAdam),
      moments_(moments),
      rate_(static_cast<float>(spec.learning_rate)),
      momentum_(adam_ ? 0 : static_cast<float>(spec.momentum)),
      decay_(static_cast<float>(spec.weight_decay)),
      proximal_(static_cast<float>(spec.proximal)) {}

std::size_t LocalOptimizer::state_bytes(std::size_t n) const {
  return (adam_ ? 2 : momentum_ != 0 ? 1 : 0) * moment_bytes(moments_, n);
}

void LocalOptimizer::apply(float* weights, const float* gradient, const float* base, std::byte* state, std::size_t n,
                           std::uint64_t step) const {
  if (plain()) return descend(weights, gradient, rate_, n);
  const Moment first(moments_, state, n, false), second(moments_, state + moment_bytes(moments_, n), n, true);
  // Adam's corrections for means that began at zero.
  const auto t = static_cast<double>(step);
  const auto rate = static_cast<float>(rate_ / (1 - std::pow(double{kBeta1}, t)));
  const auto root_correction = static_cast<float>(1 / std::sqrt(1 - std::pow(double{kBeta2}, t)));
  float pulled[kBlock], one[kBlock], other[kBlock];
  for (std::size_t at = 0; at < n; at += kBlock) {
    const std::size_t count = std::min(kBlock, n - at);
    pull(weights + at, gradient + at, base + at, decay_, proximal_, pulled, count);
    if (adam_) {
      float* const mean = first.open(at, count, one);
      float* const square = second.open(at, count, other);
      adam(weights + at, pulled, mean, square, rate, root_correction, count);
      first.close(at, count, mean);
      second.close(at, count, square);
    } else if (momentum_ != 0) {
      float* const velocity = first.open(at, count, one);
      roll(velocity, pulled, momentum_, count);
      descend(weights + at, velocity, rate_, count);
      first.close(at, count, velocity);
    } else {
      descend(weights + at, pulled, rate_, count);
    }
  }
}

}  // namespace shoal::client::training
