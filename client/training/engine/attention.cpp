// Softmax attention, one head of one example at a time: oneDNN's products around rows of exponentials in the widest
// vectors of the processor.
#include <dnnl.h>

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "client/training/engine/token_kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "client/training/engine/attention.cpp"
#include <hwy/foreach_target.h>
// What follows is compiled once for each target.
#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace shoal::client::training::engine::kernels::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using Floats = hn::ScalableTag<float>;

// row[j] = exp(row[j] - centre) for the first n; returns their sum.
float exponentials(float* row, std::size_t n, float centre) {
  const Floats d;
  const std::size_t lanes = hn::Lanes(d);
  const auto from = hn::Set(d, centre);
  auto sum = hn::Zero(d);
  std::size_t j = 0;
  for (; j + lanes <= n; j += lanes) {
    const auto e = hn::Exp(d, hn::Sub(hn::LoadU(d, row + j), from));
    hn::StoreU(e, d, row + j);
    sum = hn::Add(sum, e);
  }
  float total = hn::GetLane(hn::SumOfLanes(d, sum));
  for (; j < n; ++j) total += row[j] = std::exp(row[j] - centre);
  return total;
}

// gradient[j] = scale * p[j] * (gradient[j] - sum of p * gradient), for the first n.
void softmax_gradient(const float* p, float* gradient, std::size_t n, float scale) {
  const Floats d;
  const std::size_t lanes = hn::Lanes(d), whole = n / lanes * lanes;
  auto sum = hn::Zero(d);
  for (std::size_t j = 0; j < whole; j += lanes)
    sum = hn::Add(sum, hn::Mul(hn::LoadU(d, p + j), hn::LoadU(d, gradient + j)));
  float mean = hn::GetLane(hn::SumOfLanes(d, sum));
  for (std::size_t j = whole; j < n; ++j) mean += p[j] * gradient[j];
  const auto centre = hn::Set(d, mean), factor = hn::Set(d, scale);
  for (std::size_t j = 0; j < whole; j += lanes) {
    const auto g = hn::Sub(hn::LoadU(d, gradient + j), centre);
    hn::StoreU(hn::Mul(factor, hn::Mul(hn::LoadU(d, p + j), g)), d, gradient + j);
  }
  for (std::size_t j = whole; j < n; ++j) gradient[j] = scale * (p[j] * (gradient[j] - mean));
}

}  // namespace shoal::client::training::engine::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace shoal::client::training::engine::kernels {
namespace {

HWY_EXPORT(exponentials);
HWY_EXPORT(softmax_gradient);

struct Matrix {
  const float* values;
  std::size_t width;  // of a row in memory
  bool transposed = false;
};

// c [m, n] = factor * a b, where a row of c is `width` wide; `depth` is what is summed over.
void multiply(const Matrix& a, const Matrix& b, std::size_t m, std::size_t n, std::size_t depth, float factor, float* c,
              std::size_t width) {
  const auto size = [](std::size_t extent) { return static_cast<dnnl_dim_t>(extent); };
  const dnnl_status_t status =
      dnnl_sgemm(a.transposed ? 'T' : 'N', b.transposed ? 'T' : 'N', size(m), size(n), size(depth), factor, a.values,
                 size(a.width), b.values, size(b.width), 0.0f, c, size(width));
  SHOAL_CHECK(status == dnnl_success, "oneDNN does not multiply");
}

// One head of one example inside q, k and v of all.
struct Head {
  Head(const float* qkv, const AttentionShape& s, std::size_t example, std::size_t head)
      : size(s.features / s.heads), offset(example * s.tokens * 3 * s.features + head * size), width(3 * s.features) {
    q = {qkv + offset, width};
    k = {qkv + offset + s.features, width};
    v = {qkv + offset + 2 * s.features, width};
  }
  std::size_t size, offset, width;
  Matrix q, k, v;
};

Matrix transposed(Matrix m) {
  m.transposed = true;
  return m;
}

// How many tokens token i sees.
std::size_t seen(const AttentionShape& s, std::size_t i) { return s.causal ? i + 1 : s.tokens; }

float scale_of(const Head& head) { return 1.0f / std::sqrt(static_cast<float>(head.size)); }

// scores [tokens, tokens] = q k^T / sqrt(size)
void score(const Head& head, std::size_t tokens, float* scores) {
  multiply(head.q, transposed(head.k), tokens, tokens, head.size, scale_of(head), scores, tokens);
}

}  // namespace

void attention(const float* qkv, const AttentionShape& s, float* y, float* log_sums, float* scratch) {
  const std::size_t tokens = s.tokens;
  for (std::size_t e = 0; e < s.examples; ++e)
    for (std::size_t h = 0; h < s.heads; ++h) {
      const Head head(qkv, s, e, h);
      score(head, tokens, scratch);
      float* const logs = log_sums + (e * s.heads + h) * tokens;
      for (std::size_t i = 0; i < tokens; ++i) {
        float* const row = scratch + i * tokens;
        const std::size_t n = seen(s, i);
        const float largest = *std::max_element(row, row + n);
        const float sum = HWY_DYNAMIC_DISPATCH(exponentials)(row, n, largest), share = 1.0f / sum;
        for (std::size_t j = 0; j < n; ++j) row[j] *= share;
        std::fill(row + n, row + tokens, 0.0f);
        logs[i] = largest + std::log(sum);
      }
      multiply({scratch, tokens}, head.v, tokens, head.size, tokens, 1, y + e * tokens * s.features + h * head.size,
               s.features);
    }
}

void attention_gradient(const float* gy, const float* qkv, const float* log_sums, const AttentionShape& s, float* gqkv,
                        float* scratch) {
  const std::size_t tokens = s.tokens;
  float* const probabilities = scratch;
  float* const gradients = scratch + tokens * tokens;  // of the probabilities, then of the scores before their scale
  for (std::size_t e = 0; e < s.examples; ++e)
    for (std::size_t h = 0; h < s.heads; ++h) {
      const Head head(qkv, s, e, h);
      const Matrix g{gy + e * tokens * s.features + h * head.size, s.features};
      score(head, tokens, probabilities);
      multiply(g, transposed(head.v), tokens, tokens, head.size, 1, gradients, tokens);
      const float* const logs = log_sums + (e * s.heads + h) * tokens;
      for (std::size_t i = 0; i < tokens; ++i) {
        const std::size_t n = seen(s, i);
        float* const p = probabilities + i * tokens;
        float* const gradient = gradients + i * tokens;
        HWY_DYNAMIC_DISPATCH(exponentials)(p, n, logs[i]);
        HWY_DYNAMIC_DISPATCH(softmax_gradient)(p, gradient, n, scale_of(head));
        std::fill(p + n, p + tokens, 0.0f);
        std::fill(gradient + n, gradient + tokens, 0.0f);
      }
      float* const gq = gqkv + head.offset;
      multiply({gradients, tokens}, head.k, tokens, head.size, tokens, 1, gq, head.width);
      multiply({gradients, tokens, true}, head.q, tokens, head.size, tokens, 1, gq + s.features, head.width);
      multiply({probabilities, tokens, true}, g, tokens, head.size, tokens, 1, gq + 2 * s.features, head.width);
    }
}

}  // namespace shoal::client::training::engine::kernels
#endif
