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

// The nearest integer, even of two, of a number far below 2^22: as std::lrint, but in vectors.
inline float nearest(float x) {
  constexpr float kShift = 12582912;  // 1.5 * 2^23: digits behind the point fall off
  return (x + kShift) - kShift;
}

// Of n magnitudes. Lane by lane, since the order of comparisons would matter to the compiler.
SHOAL_VECTOR_CLONES float largest_of(const float* values, std::size_t n) {
  constexpr std::size_t kLanes = 16;
  float lanes[kLanes] = {};
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (std::size_t j = 0; j < kLanes; ++j) {
      const float v = std::abs(values[i + j]);
      lanes[j] = lanes[j] < v ? v : lanes[j];
    }
  float largest = 0;
  for (; i < n; ++i) largest = std::max(largest, std::abs(values[i]));
  for (const float lane : lanes) largest = std::max(largest, lane);
  return largest;
}

// In 8 bits steps grow with the square of the value, so that a block may hold values of very different size.
SHOAL_VECTOR_CLONES void open_mean(const std::int8_t* from, float scale, float* to, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    const auto q = static_cast<float>(from[i]);
    to[i] = scale * q * std::abs(q);
  }
}
SHOAL_VECTOR_CLONES void open_square(const std::uint8_t* from, float scale, float* to, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    const auto q = static_cast<float>(from[i]);
    to[i] = scale * q * q * scale * q * q;
  }
}

SHOAL_VECTOR_CLONES void scale_mean(const float* values, float inverse, std::int8_t* to, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    const float q = nearest(127 * std::sqrt(std::abs(values[i]) * inverse));
    to[i] = static_cast<std::int8_t>(static_cast<std::int32_t>(values[i] < 0 ? -q : q));
  }
}
void close_mean(const float* values, float& scale, std::int8_t* to, std::size_t n) {
  const float largest = largest_of(values, n);
  scale = largest / (127 * 127);
  scale_mean(values, largest > 0 ? 1 / largest : 0, to, n);
}

// Never rounded to 0: a denominator that vanished would make a huge step.
SHOAL_VECTOR_CLONES void scale_square(const float* values, float inverse, std::uint8_t* to, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    float q = nearest(255 * std::sqrt(std::sqrt(values[i]) * inverse));
    q = q < 1 ? 1 : q;
    q = q > 255 ? 255 : q;
    to[i] = static_cast<std::uint8_t>(static_cast<std::int32_t>(q));
  }
}
void close_square(const float* values, float& scale, std::uint8_t* to, std::size_t n) {
  const float largest = std::sqrt(largest_of(values, n));
  scale = largest / (255 * 255);
  scale_square(values, largest > 0 ? 1 / largest : 0, to, n);
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
      case Moments::kInt8:
        if (is_square_)
          open_square(reinterpret_cast<const std::uint8_t*>(bytes()) + first, scales()[first / kBlock], scratch, n);
        else
          open_mean(bytes() + first, scales()[first / kBlock], scratch, n);
        break;
    }
    return scratch;
  }

  void close(std::size_t first, std::size_t n, const float* values) const {
    if (moments_ == Moments::kBfloat16) to_bfloat16(values, halves() + first, n);
    if (moments_ != Moments::kInt8) return;
    if (is_square_)
      close_square(values, scales()[first / kBlock], reinterpret_cast<std::uint8_t*>(bytes()) + first, n);
    else
      close_mean(values, scales()[first / kBlock], bytes() + first, n);
  }

 private:
  std::uint16_t* halves() const { return reinterpret_cast<std::uint16_t*>(state_); }
  float* scales() const { return reinterpret_cast<float*>(state_); }
  std::int8_t* bytes() const { return reinterpret_cast<std::int8_t*>(state_ + blocks(n_) * sizeof(float)); }

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
  const float* const towards = proximal_ == 0 ? weights : base;  // no pull: `base` is not read and needs no memory
  float pulled[kBlock], one[kBlock], other[kBlock];
  for (std::size_t at = 0; at < n; at += kBlock) {
    const std::size_t count = std::min(kBlock, n - at);
    pull(weights + at, gradient + at, towards + at, decay_, proximal_, pulled, count);
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
