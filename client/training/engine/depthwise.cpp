// The weight's gradient of a depthwise convolution, for which oneDNN has nothing fast on images with channels last.
#include <algorithm>
#include <cstring>

#include "base/vector_clones.h"
#include "client/training/engine/kernels.h"

namespace shoal::client::training::engine::kernels {
namespace {

constexpr std::size_t kLanes = 16;  // channels whose sums stay in registers, for one row of the window

// sums[j][l] += gy * x over one row of the output and the row of the window that meets it in `in`.
template <std::size_t kKernel>
inline __attribute__((always_inline)) void add_row(const float* gy, const float* in, const DepthwiseShape& s,
                                                   std::size_t lanes, float (&sums)[kKernel][kLanes]) {
  const auto clear = [&](std::size_t column) {  // is every place of the window inside the image?
    return column * s.stride >= s.padding && column * s.stride + kKernel - s.padding <= s.width;
  };
  for (std::size_t column = 0; column < s.out_width; ++column) {
    const float* const g = gy + column * s.channels;
    const std::size_t left = column * s.stride;
    if (lanes == kLanes && clear(column)) {
      const float* const v = in + (left - s.padding) * s.channels;
      for (std::size_t j = 0; j < kKernel; ++j)
        for (std::size_t l = 0; l < kLanes; ++l) sums[j][l] += g[l] * v[j * s.channels + l];
      continue;
    }
    for (std::size_t j = 0; j < kKernel; ++j) {
      if (left + j < s.padding || left + j - s.padding >= s.width) continue;
      const float* const v = in + (left + j - s.padding) * s.channels;
      for (std::size_t l = 0; l < lanes; ++l) sums[j][l] += g[l] * v[l];
    }
  }
}

template <std::size_t kKernel>
inline __attribute__((always_inline)) void gradient(const float* gy, const float* x, const DepthwiseShape& s,
                                                    float* gw) {
  for (std::size_t channel = 0; channel < s.channels; channel += kLanes) {
    const std::size_t lanes = std::min(kLanes, s.channels - channel);
    for (std::size_t i = 0; i < kKernel; ++i) {
      float sums[kKernel][kLanes] = {};
      for (std::size_t n = 0; n < s.examples; ++n)
        for (std::size_t row = 0; row < s.out_height; ++row) {
          if (row * s.stride + i < s.padding || row * s.stride + i - s.padding >= s.height) continue;
          const std::size_t in = row * s.stride + i - s.padding;
          add_row<kKernel>(gy + (n * s.out_height + row) * s.out_width * s.channels + channel,
                           x + (n * s.height + in) * s.width * s.channels + channel, s, lanes, sums);
        }
      for (std::size_t j = 0; j < kKernel; ++j)
        for (std::size_t l = 0; l < lanes; ++l) gw[((channel + l) * kKernel + i) * kKernel + j] = sums[j][l];
    }
  }
}

SHOAL_VECTOR_CLONES void gradient3(const float* gy, const float* x, const DepthwiseShape& s, float* gw) {
  gradient<3>(gy, x, s, gw);
}
SHOAL_VECTOR_CLONES void gradient5(const float* gy, const float* x, const DepthwiseShape& s, float* gw) {
  gradient<5>(gy, x, s, gw);
}
SHOAL_VECTOR_CLONES void gradient7(const float* gy, const float* x, const DepthwiseShape& s, float* gw) {
  gradient<7>(gy, x, s, gw);
}

}  // namespace

bool has_depthwise_gradient(std::size_t kernel) { return kernel == 3 || kernel == 5 || kernel == 7; }

void depthwise_gradient(const float* gy, const float* x, const DepthwiseShape& shape, float* gw) {
  if (shape.kernel == 3) gradient3(gy, x, shape, gw);
  if (shape.kernel == 5) gradient5(gy, x, shape, gw);
  if (shape.kernel == 7) gradient7(gy, x, shape, gw);
}

}  // namespace shoal::client::training::engine::kernels
