// The engine's own kernels on plain arrays: images are [rows = examples * height * width, channels], features
// [examples, features], all float32. Nothing is allocated; arrays do not overlap unless it is said. Sums are taken in a
// fixed order, so that the same inputs give the same bits.
#pragma once

#include <cstddef>
#include <cstdint>

namespace shoal::client::training::engine::kernels {

// y = min(max(x, 0), cap), and one bit an element, least significant first: 1 where 0 <= x <= cap (so that 0 passes, as
// in TinyTL's Table 4.1). `mask` holds (n + 7) / 8 bytes; null: no mask. y may be x. A cap of infinity is ReLU.
void relu(const float* x, float* y, std::uint8_t* mask, std::size_t n, float cap);
// gx = gy where the bit is set, else 0. gx may be gy.
void relu_gradient(const float* gy, const std::uint8_t* mask, float* gx, std::size_t n);

// y += x.
void add(const float* x, float* y, std::size_t n);

// sums[c] = sum over rows of x[row, c], for a bias.
void column_sums(const float* x, std::size_t rows, std::size_t columns, float* sums);

struct NormShape {
  std::size_t examples, pixels, channels, groups;
};
// Group normalization (Wu and He 2018). Writes `mean` and `rstd` [examples, groups]. `scratch` holds 3 * channels
// floats. y may be x when no gradient is wanted.
void group_norm(const float* x, const float* scale, const float* shift, const NormShape& shape, float epsilon, float* y,
                float* mean, float* rstd, float* scratch);
// The exact gradient. g_scale and g_shift [channels] are written where not null, gx where not null; gx may be gy.
void group_norm_gradient(const float* gy, const float* x, const float* scale, const float* mean, const float* rstd,
                         const NormShape& shape, float* gx, float* g_scale, float* g_shift, float* scratch);
// The gradient with the statistics held constant: gx = gy * scale * rstd.
void group_norm_constant_gradient(const float* gy, const float* scale, const float* rstd, const NormShape& shape,
                                  float* gx, float* scratch);

struct DepthwiseShape {
  std::size_t examples, height, width, channels, out_height, out_width, kernel, stride, padding;
};
// The gradient [channels, kernel, kernel] of a depthwise convolution's weight, for the kernels that
// has_depthwise_gradient names.
bool has_depthwise_gradient(std::size_t kernel);
void depthwise_gradient(const float* gy, const float* x, const DepthwiseShape& shape, float* gw);

// Products of a few thousand to a hundred thousand multiplications, which take less than what oneDNN needs to begin.
struct ProductShape {
  std::size_t rows, columns, depth;  // of the result, and terms of each of its sums
};
// y[r, o] = x[r, :] * weight[o, :] + bias[o], with x [rows, depth], weight [columns, depth]; row r of y begins at
// r * y_row. `bias` may be null.
void small_linear(const float* x, const float* weight, const float* bias, const ProductShape& shape, float* y,
                  std::size_t y_row);
// c = factor * a * b, or that added to c, with b [depth, columns] and c [rows, columns]; a(r, k) lies at a[r * a_row +
// k * a_step].
void small_product(const float* a, std::size_t a_row, std::size_t a_step, const float* b, const ProductShape& shape,
                   float factor, bool add, float* c);

// Rows of a weight as int8: each row's largest magnitude becomes 127, `scales` [rows] is what one step is worth.
void quantize_rows(const float* weight, std::size_t rows, std::size_t columns, std::int8_t* values, float* scales);
void dequantize_rows(const std::int8_t* values, const float* scales, std::size_t rows, std::size_t columns,
                     float* weight);

struct PoolShape {
  std::size_t examples, height, width, channels;  // of the input
  std::size_t kernel, stride, out_height, out_width;
};
// `chosen` gets the place in the window of each maximum, the first one of equals; null: not wanted.
void max_pool(const float* x, const PoolShape& shape, float* y, std::uint8_t* chosen);
void max_pool_gradient(const float* gy, const std::uint8_t* chosen, const PoolShape& shape, float* gx);
void average_pool(const float* x, const PoolShape& shape, float* y);
void average_pool_gradient(const float* gy, const PoolShape& shape, float* gx);
// Bilinear, to another height and width, corners not aligned. `kernel` and `stride` are not used.
void upsample(const float* x, const PoolShape& shape, float* y);
void upsample_gradient(const float* gy, const PoolShape& shape, float* gx);
void global_average(const float* x, std::size_t examples, std::size_t pixels, std::size_t channels, float* y);
void global_average_gradient(const float* gy, std::size_t examples, std::size_t pixels, std::size_t channels,
                             float* gx);

// [examples, pixels, channels] to [examples, channels, pixels]; back with the two exchanged.
void transpose(const float* x, std::size_t examples, std::size_t pixels, std::size_t channels, float* y);

struct Scores {
  double loss = 0;            // sum over the examples
  std::uint64_t correct = 0;  // the largest logit, the first of equals, is the label's
};
// Cross-entropy of the first `examples` rows of `logits`. With `scale` > 0 the logits are overwritten by the gradient
// of scale * loss, and all rows from there to `rows` by 0.
Scores cross_entropy(float* logits, const std::uint32_t* labels, std::size_t examples, std::size_t rows,
                     std::size_t classes, float scale);

}  // namespace shoal::client::training::engine::kernels
