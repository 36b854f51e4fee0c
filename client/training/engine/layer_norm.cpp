// Layer normalization, one row at a time.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/vector_clones.h"
#include "client/training/engine/token_kernels.h"

namespace shoal::client::training::engine::kernels {
namespace {

// Sum of term(i), in lanes that the compiler may put into one vector.
template <class Term>
inline __attribute__((always_inline)) float sum_of(std::size_t n, Term term) {
  constexpr std::size_t kLanes = 16;
  float lanes[kLanes] = {};
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (std::size_t l = 0; l < kLanes; ++l) lanes[l] += term(i + l);
  for (; i < n; ++i) lanes[i % kLanes] += term(i);
  for (std::size_t width = kLanes / 2; width > 0; width /= 2)
    for (std::size_t l = 0; l < width; ++l) lanes[l] += lanes[l + width];
  return lanes[0];
}

SHOAL_VECTOR_CLONES float sum_row(const float* x, std::size_t n) {
  return sum_of(n, [=](std::size_t i) { return x[i]; });
}
SHOAL_VECTOR_CLONES float sum_squares(const float* x, float centre, std::size_t n) {
  return sum_of(n, [=](std::size_t i) { return (x[i] - centre) * (x[i] - centre); });
}
SHOAL_VECTOR_CLONES float sum_products(const float* a, const float* b, std::size_t n) {
  return sum_of(n, [=](std::size_t i) { return a[i] * b[i]; });
}
SHOAL_VECTOR_CLONES float sum_products(const float* a, const float* b, const float* c, float centre, std::size_t n) {
  return sum_of(n, [=](std::size_t i) { return a[i] * b[i] * (c[i] - centre); });
}

SHOAL_VECTOR_CLONES void normalize(const float* x, const float* scale, const float* shift, float mean, float rstd,
                                   float* y, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) y[i] = (x[i] - mean) * rstd * scale[i] + shift[i];
}

// gx = rstd * gy * scale + slope * (x - mean) + offset
SHOAL_VECTOR_CLONES void combine(const float* gy, const float* x, const float* scale, float mean, float rstd,
                                 float slope, float offset, float* gx, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) gx[i] = rstd * gy[i] * scale[i] + slope * (x[i] - mean) + offset;
}

SHOAL_VECTOR_CLONES void add_products(const float* gy, const float* x, float mean, float rstd, float* sums,
                                      std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) sums[i] += gy[i] * (x[i] - mean) * rstd;
}
SHOAL_VECTOR_CLONES void add_row(const float* x, float* sums, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) sums[i] += x[i];
}

}  // namespace

void layer_norm(const float* x, const float* scale, const float* shift, std::size_t rows, std::size_t features,
                float epsilon, float* y, float* mean, float* rstd) {
  const auto count = static_cast<float>(features);
  for (std::size_t row = 0; row < rows; ++row) {
    const float* const in = x + row * features;
    mean[row] = sum_row(in, features) / count;
    rstd[row] = 1.0f / std::sqrt(sum_squares(in, mean[row], features) / count + epsilon);
    normalize(in, scale, shift, mean[row], rstd[row], y + row * features, features);
  }
}

void layer_norm_gradient(const float* gy, const float* x, const float* scale, const float* mean, const float* rstd,
                         std::size_t rows, std::size_t features, float* gx, float* g_scale, float* g_shift,
                         float* scratch) {
  constexpr std::size_t kRows = 64;  // go to the totals at a time, so that long sums keep their digits
  const auto count = static_cast<float>(features);
  if (g_scale != nullptr) std::memset(g_scale, 0, features * sizeof(float));
  if (g_shift != nullptr) std::memset(g_shift, 0, features * sizeof(float));
  for (std::size_t top = 0; top < rows; top += kRows) {
    float* const scales = scratch;
    float* const shifts = scratch + features;
    std::memset(scratch, 0, 2 * features * sizeof(float));
    for (std::size_t row = top; row < std::min(rows, top + kRows); ++row) {
      const float* const g = gy + row * features;
      const float* const in = x + row * features;
      const float m = mean[row], r = rstd[row];
      if (g_scale != nullptr) add_products(g, in, m, r, scales, features);
      if (g_shift != nullptr) add_row(g, shifts, features);
      if (gx == nullptr) continue;
      // gx = r * (scale * gy - mean of that - xhat * mean of (scale * gy * xhat)), with xhat = (x - m) * r
      const float sum = sum_products(g, scale, features) / count;
      const float product = sum_products(g, scale, in, m, features) * r / count;
      combine(g, in, scale, m, r, -r * r * product, -r * sum, gx + row * features, features);
    }
    if (g_scale != nullptr) add_row(scales, g_scale, features);
    if (g_shift != nullptr) add_row(shifts, g_shift, features);
  }
}

}  // namespace shoal::client::training::engine::kernels
