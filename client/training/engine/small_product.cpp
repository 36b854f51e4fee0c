// Matrix products that are too small for what a call of oneDNN costs, in the widest vectors of the processor it runs
// on. Each result is summed up in a fixed order.
#include <algorithm>

#include "client/training/engine/kernels.h"

// Vectors in arrays need a size that is known when they are compiled.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "client/training/engine/small_product.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace shoal::client::training::engine::kernels::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;
using Vector = hn::Vec<Floats>;

// 10 sums and what they are made of fit into 16 registers.
constexpr std::size_t kTall = 5, kWide = 2;

// y[r, o] = bias[o] + x[r, :] * weight[o, :] for kRows rows and kColumns outputs.
template <std::size_t kRows, std::size_t kColumns>
void dot_block(const float* x, const float* weight, const float* bias, std::size_t in, float* y, std::size_t width) {
  const Floats d;
  const std::size_t lanes = hn::Lanes(d), whole = in / lanes * lanes;
  Vector sums[kRows][kColumns];
  for (auto& row : sums)
    for (Vector& sum : row) sum = hn::Zero(d);
  const auto add = [&](auto load, std::size_t i) {
    Vector w[kColumns];
    for (std::size_t c = 0; c < kColumns; ++c) w[c] = load(weight + c * in + i);
    for (std::size_t r = 0; r < kRows; ++r) {
      const Vector v = load(x + r * in + i);
      for (std::size_t c = 0; c < kColumns; ++c) sums[r][c] = hn::MulAdd(v, w[c], sums[r][c]);
    }
  };
  for (std::size_t i = 0; i < whole; i += lanes) add([&](const float* from) { return hn::LoadU(d, from); }, i);
  if (whole < in) {
    const auto rest = hn::FirstN(d, in - whole);
    add([&](const float* from) { return hn::MaskedLoad(rest, d, from); }, whole);
  }
  for (std::size_t r = 0; r < kRows; ++r)
    for (std::size_t c = 0; c < kColumns; ++c)
      y[r * width + c] = hn::GetLane(hn::SumOfLanes(d, sums[r][c])) + (bias == nullptr ? 0 : bias[c]);
}

// c[m, :] = factor * sum over k of a(m, k) * b[k, :], or that added to it, for kRows rows and kColumns vectors; a(m, k)
// lies at a[m * a_row + k * a_step].
template <std::size_t kRows, std::size_t kColumns, class Load, class Store>
HWY_INLINE void outer_block(const float* a, std::size_t a_row, std::size_t a_step, const float* b, std::size_t depth,
                            std::size_t width, float factor, bool adds, float* c, Load load, Store store) {
  const Floats d;
  const std::size_t lanes = hn::Lanes(d);
  Vector sums[kRows][kColumns];
  for (auto& row : sums)
    for (Vector& sum : row) sum = hn::Zero(d);
  for (std::size_t k = 0; k < depth; ++k) {
    Vector v[kColumns];
    for (std::size_t j = 0; j < kColumns; ++j) v[j] = load(b + k * width + j * lanes);
    for (std::size_t m = 0; m < kRows; ++m) {
      const Vector share = hn::Set(d, a[m * a_row + k * a_step]);
      for (std::size_t j = 0; j < kColumns; ++j) sums[m][j] = hn::MulAdd(share, v[j], sums[m][j]);
    }
  }
  // Rounded before it is added, so that a step of SGD made here has the bits of one made from a gradient.
  const Vector by = hn::Set(d, factor);
  for (std::size_t m = 0; m < kRows; ++m)
    for (std::size_t j = 0; j < kColumns; ++j) {
      float* const to = c + m * width + j * lanes;
      const Vector product = hn::Mul(by, sums[m][j]);
      store(adds ? hn::Add(load(to), product) : product, to);
    }
}

// Calls work with `rows` of at most kTall as a constant.
template <class Work>
HWY_INLINE void with_rows(std::size_t rows, Work work) {
  switch (rows) {
    case 1: return work(std::integral_constant<std::size_t, 1>());
    case 2: return work(std::integral_constant<std::size_t, 2>());
    case 3: return work(std::integral_constant<std::size_t, 3>());
    case 4: return work(std::integral_constant<std::size_t, 4>());
    default: return work(std::integral_constant<std::size_t, kTall>());
  }
}

void small_linear(const float* x, const float* weight, const float* bias, const ProductShape& s, float* y,
                  std::size_t width) {
  for (std::size_t row = 0; row < s.rows; row += kTall)
    with_rows(std::min(kTall, s.rows - row), [&](auto rows) {
      for (std::size_t o = 0; o < s.columns; o += kWide) {
        const float* const shift = bias == nullptr ? nullptr : bias + o;
        if (o + kWide <= s.columns)
          dot_block<rows, kWide>(x + row * s.depth, weight + o * s.depth, shift, s.depth, y + row * width + o, width);
        else
          dot_block<rows, 1>(x + row * s.depth, weight + o * s.depth, shift, s.depth, y + row * width + o, width);
      }
    });
}

void small_product(const float* a, std::size_t a_row, std::size_t a_step, const float* b, const ProductShape& s,
                   float factor, bool adds, float* c) {
  const Floats d;
  const std::size_t lanes = hn::Lanes(d), wide = kWide * lanes;
  const auto load = [&](const float* from) { return hn::LoadU(d, from); };
  const auto store = [&](Vector v, float* to) { hn::StoreU(v, d, to); };
  for (std::size_t row = 0; row < s.rows; row += kTall)
    with_rows(std::min(kTall, s.rows - row), [&](auto rows) {
      const float* const from = a + row * a_row;
      float* const to = c + row * s.columns;
      std::size_t at = 0;
      for (; at + wide <= s.columns; at += wide)
        outer_block<rows, kWide>(from, a_row, a_step, b + at, s.depth, s.columns, factor, adds, to + at, load, store);
      for (; at + lanes <= s.columns; at += lanes)
        outer_block<rows, 1>(from, a_row, a_step, b + at, s.depth, s.columns, factor, adds, to + at, load, store);
      if (at == s.columns) return;
      const auto rest = hn::FirstN(d, s.columns - at);
      outer_block<rows, 1>(
          from, a_row, a_step, b + at, s.depth, s.columns, factor, adds, to + at,
          [&](const float* p) { return hn::MaskedLoad(rest, d, p); },
          [&](Vector v, float* p) { hn::BlendedStore(v, rest, d, p); });
    });
}

}  // namespace shoal::client::training::engine::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace shoal::client::training::engine::kernels {

HWY_EXPORT(small_linear);
HWY_EXPORT(small_product);

void small_linear(const float* x, const float* weight, const float* bias, const ProductShape& shape, float* y,
                  std::size_t width) {
  HWY_DYNAMIC_DISPATCH(small_linear)(x, weight, bias, shape, y, width);
}

void small_product(const float* a, std::size_t a_row, std::size_t a_step, const float* b, const ProductShape& shape,
                   float factor, bool adds, float* c) {
  HWY_DYNAMIC_DISPATCH(small_product)(a, a_row, a_step, b, shape, factor, adds, c);
}

}  // namespace shoal::client::training::engine::kernels
#endif
