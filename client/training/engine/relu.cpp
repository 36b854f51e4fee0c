// ReLU with one bit an element, in the widest vectors of the processor it runs on.
#include <algorithm>

#include "client/training/engine/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "client/training/engine/relu.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace shoal::client::training::engine::kernels::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Vectors of at least 8 lanes, so that a mask fills whole bytes.
using Floats = hn::CappedTag<float, 64>;

void relu(const float* x, float* y, std::uint8_t* mask, std::size_t n, float cap) {
  const Floats d;
  const auto most = hn::Set(d, cap);
  const std::size_t lanes = hn::Lanes(d);
  const auto zero = hn::Zero(d);
  std::size_t i = 0;
  if (mask == nullptr) {
    for (; i + lanes <= n; i += lanes) hn::StoreU(hn::Min(hn::Max(hn::LoadU(d, x + i), zero), most), d, y + i);
    for (; i < n; ++i) y[i] = std::min(std::max(x[i], 0.0f), cap);
    return;
  }
  if (lanes >= 8) {
    for (; i + lanes <= n; i += lanes) {
      const auto v = hn::LoadU(d, x + i);
      hn::StoreMaskBits(d, hn::And(hn::Ge(v, zero), hn::Le(v, most)), mask + i / 8);
      hn::StoreU(hn::Min(hn::Max(v, zero), most), d, y + i);
    }
  }
  for (; i < n; i += 8) {
    std::uint8_t bits = 0;
    for (std::size_t j = i; j < n && j < i + 8; ++j) {
      bits = static_cast<std::uint8_t>(bits | (x[j] >= 0 && x[j] <= cap ? 1u << (j - i) : 0u));
      y[j] = std::min(std::max(x[j], 0.0f), cap);
    }
    mask[i / 8] = bits;
  }
}

void relu_gradient(const float* gy, const std::uint8_t* mask, float* gx, std::size_t n) {
  const Floats d;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  if (lanes >= 8) {
    // LoadMaskBits reads at least 8 bytes; the last ones are taken one by one.
    for (; i + lanes <= n && i / 8 + 8 <= (n + 7) / 8; i += lanes) {
      const auto passes = hn::LoadMaskBits(d, mask + i / 8);
      hn::StoreU(hn::IfThenElseZero(passes, hn::LoadU(d, gy + i)), d, gx + i);
    }
  }
  for (; i < n; ++i) gx[i] = (mask[i / 8] >> (i % 8) & 1) != 0 ? gy[i] : 0;
}

}  // namespace shoal::client::training::engine::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace shoal::client::training::engine::kernels {

HWY_EXPORT(relu);
HWY_EXPORT(relu_gradient);

void relu(const float* x, float* y, std::uint8_t* mask, std::size_t n, float cap) {
  HWY_DYNAMIC_DISPATCH(relu)(x, y, mask, n, cap);
}

void relu_gradient(const float* gy, const std::uint8_t* mask, float* gx, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(relu_gradient)(gy, mask, gx, n);
}

}  // namespace shoal::client::training::engine::kernels
#endif
