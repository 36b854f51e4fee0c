#include "client/training/engine/kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/vector_clones.h"

namespace shoal::client::training::engine::kernels {
namespace {

// sums[c] += term(row * columns + c, c) over all rows: some rows at a time go to the total, so that long sums keep
// their digits.
template <class Term>
inline __attribute__((always_inline)) void sum_over_rows(std::size_t rows, std::size_t columns, float* sums,
                                                         Term term) {
  constexpr std::size_t kRows = 64, kColumns = 64;
  for (std::size_t left = 0; left < columns; left += kColumns) {
    const std::size_t width = std::min(kColumns, columns - left);
    for (std::size_t top = 0; top < rows; top += kRows) {
      float block[kColumns] = {};
      for (std::size_t row = top; row < std::min(rows, top + kRows); ++row)
        for (std::size_t c = 0; c < width; ++c) block[c] += term(row * columns + left + c, left + c);
      for (std::size_t c = 0; c < width; ++c) sums[left + c] += block[c];
    }
  }
}

SHOAL_VECTOR_CLONES void sum_values(const float* x, std::size_t rows, std::size_t columns, float* sums) {
  sum_over_rows(rows, columns, sums, [=](std::size_t i, std::size_t) { return x[i]; });
}

SHOAL_VECTOR_CLONES void sum_squares(const float* x, const float* centre, std::size_t rows, std::size_t columns,
                                     float* sums) {
  sum_over_rows(rows, columns, sums,
                [=](std::size_t i, std::size_t c) { return (x[i] - centre[c]) * (x[i] - centre[c]); });
}

SHOAL_VECTOR_CLONES void sum_products(const float* g, const float* x, const float* centre, std::size_t rows,
                                      std::size_t columns, float* sums) {
  sum_over_rows(rows, columns, sums, [=](std::size_t i, std::size_t c) { return g[i] * (x[i] - centre[c]); });
}

// y[row, c] = x[row, c] * factor[c] + offset[c]
SHOAL_VECTOR_CLONES void scale_rows(const float* x, const float* factor, const float* offset, std::size_t rows,
                                    std::size_t columns, float* y) {
  for (std::size_t row = 0; row < rows; ++row)
    for (std::size_t c = 0; c < columns; ++c) y[row * columns + c] = x[row * columns + c] * factor[c] + offset[c];
}

// y[row, c] = g[row, c] * a[c] + x[row, c] * b[c] + d[c]
SHOAL_VECTOR_CLONES void combine_rows(const float* g, const float* a, const float* x, const float* b, const float* d,
                                      std::size_t rows, std::size_t columns, float* y) {
  for (std::size_t row = 0; row < rows; ++row)
    for (std::size_t c = 0; c < columns; ++c) {
      const std::size_t i = row * columns + c;
      y[i] = g[i] * a[c] + x[i] * b[c] + d[c];
    }
}

SHOAL_VECTOR_CLONES void add_scaled(const float* x, float factor, float* y, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) y[i] += factor * x[i];
}

SHOAL_VECTOR_CLONES void take_larger(const float* x, std::uint8_t place, float* best, std::uint8_t* chosen,
                                     std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    const bool larger = x[i] > best[i];
    best[i] = larger ? x[i] : best[i];
    chosen[i] = larger ? place : chosen[i];
  }
}

SHOAL_VECTOR_CLONES void take_larger(const float* x, float* best, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) best[i] = x[i] > best[i] ? x[i] : best[i];
}

// Where an output row or column lies between two of the input.
struct Between {
  std::size_t low, high;
  float share;  // of high
};
Between between(std::size_t place, std::size_t in, std::size_t out) {
  const float at =
      std::max(0.0f, (static_cast<float>(place) + 0.5f) * static_cast<float>(in) / static_cast<float>(out) - 0.5f);
  const auto low = std::min(static_cast<std::size_t>(at), in - 1);
  return {low, std::min(low + 1, in - 1), at - static_cast<float>(low)};
}

// Calls work(output pixel, input pixel, share) for the four neighbours of every output pixel of one example.
template <class Work>
void each_neighbour(const PoolShape& s, Work work) {
  for (std::size_t row = 0; row < s.out_height; ++row) {
    const Between y = between(row, s.height, s.out_height);
    for (std::size_t column = 0; column < s.out_width; ++column) {
      const Between x = between(column, s.width, s.out_width);
      const std::size_t to = row * s.out_width + column;
      work(to, y.low * s.width + x.low, (1 - y.share) * (1 - x.share));
      work(to, y.low * s.width + x.high, (1 - y.share) * x.share);
      work(to, y.high * s.width + x.low, y.share * (1 - x.share));
      work(to, y.high * s.width + x.high, y.share * x.share);
    }
  }
}

// Calls work(output pixel, input pixel, place in the window) for every place of every window of one example.
template <class Work>
void each_window(const PoolShape& s, Work work) {
  for (std::size_t row = 0; row < s.out_height; ++row)
    for (std::size_t column = 0; column < s.out_width; ++column)
      for (std::size_t i = 0; i < s.kernel; ++i)
        for (std::size_t j = 0; j < s.kernel; ++j)
          work(row * s.out_width + column, (row * s.stride + i) * s.width + column * s.stride + j, i * s.kernel + j);
}

// The same with what a place counts in the window's mean.
constexpr auto each_mean = [](const PoolShape& s, auto work) {
  const float share = 1.0f / static_cast<float>(s.kernel * s.kernel);
  each_window(s, [&](std::size_t to, std::size_t from, std::size_t) { work(to, from, share); });
};
constexpr auto each_between = [](const PoolShape& s, auto work) { each_neighbour(s, work); };

// y = A x, and gx = A^T gy, for the linear map of one example's pixels whose entries `each` names.
template <class Each>
void gather(const float* x, const PoolShape& s, Each each, float* y) {
  const std::size_t in = s.height * s.width * s.channels, out = s.out_height * s.out_width * s.channels;
  std::memset(y, 0, s.examples * out * sizeof(float));
  for (std::size_t n = 0; n < s.examples; ++n)
    each(s, [&](std::size_t to, std::size_t from, float share) {
      add_scaled(x + n * in + from * s.channels, share, y + n * out + to * s.channels, s.channels);
    });
}
template <class Each>
void scatter(const float* gy, const PoolShape& s, Each each, float* gx) {
  const std::size_t in = s.height * s.width * s.channels, out = s.out_height * s.out_width * s.channels;
  std::memset(gx, 0, s.examples * in * sizeof(float));
  for (std::size_t n = 0; n < s.examples; ++n)
    each(s, [&](std::size_t to, std::size_t from, float share) {
      add_scaled(gy + n * out + to * s.channels, share, gx + n * in + from * s.channels, s.channels);
    });
}

}  // namespace

SHOAL_VECTOR_CLONES void add(const float* x, float* y, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) y[i] += x[i];
}

void column_sums(const float* x, std::size_t rows, std::size_t columns, float* sums) {
  std::memset(sums, 0, columns * sizeof(float));
  sum_values(x, rows, columns, sums);
}

void group_norm(const float* x, const float* scale, const float* shift, const NormShape& shape, float epsilon, float* y,
                float* mean, float* rstd, float* scratch) {
  const std::size_t channels = shape.channels, width = channels / shape.groups, size = shape.pixels * channels;
  float* const sums = scratch;
  float* const centre = scratch + channels;
  const auto count = static_cast<float>(shape.pixels * width);
  for (std::size_t n = 0; n < shape.examples; ++n) {
    const float* const in = x + n * size;
    column_sums(in, shape.pixels, channels, sums);
    for (std::size_t g = 0; g < shape.groups; ++g) {
      float sum = 0;
      for (std::size_t c = g * width; c < (g + 1) * width; ++c) sum += sums[c];
      mean[n * shape.groups + g] = sum / count;
      for (std::size_t c = g * width; c < (g + 1) * width; ++c) centre[c] = sum / count;
    }
    std::memset(sums, 0, channels * sizeof(float));
    sum_squares(in, centre, shape.pixels, channels, sums);
    for (std::size_t g = 0; g < shape.groups; ++g) {
      float sum = 0;
      for (std::size_t c = g * width; c < (g + 1) * width; ++c) sum += sums[c];
      const float r = 1.0f / std::sqrt(sum / count + epsilon);
      rstd[n * shape.groups + g] = r;
      for (std::size_t c = g * width; c < (g + 1) * width; ++c) {
        sums[c] = scale[c] * r;
        centre[c] = shift[c] - centre[c] * sums[c];
      }
    }
    scale_rows(in, sums, centre, shape.pixels, channels, y + n * size);
  }
}

void group_norm_gradient(const float* gy, const float* x, const float* scale, const float* mean, const float* rstd,
                         const NormShape& shape, float* gx, float* g_scale, float* g_shift, float* scratch) {
  const std::size_t channels = shape.channels, width = channels / shape.groups, size = shape.pixels * channels;
  float* const sums = scratch;                 // of gy
  float* const products = scratch + channels;  // of gy and x - mean
  float* const centre = scratch + 2 * channels;
  if (g_scale != nullptr) std::memset(g_scale, 0, channels * sizeof(float));
  if (g_shift != nullptr) std::memset(g_shift, 0, channels * sizeof(float));
  const auto count = static_cast<float>(shape.pixels * width);
  for (std::size_t n = 0; n < shape.examples; ++n) {
    std::memset(sums, 0, 2 * channels * sizeof(float));
    for (std::size_t c = 0; c < channels; ++c) centre[c] = mean[n * shape.groups + c / width];
    sum_values(gy + n * size, shape.pixels, channels, sums);
    sum_products(gy + n * size, x + n * size, centre, shape.pixels, channels, products);
    for (std::size_t g = 0; g < shape.groups; ++g) {
      const float m = mean[n * shape.groups + g], r = rstd[n * shape.groups + g];
      float sum = 0, product = 0;
      for (std::size_t c = g * width; c < (g + 1) * width; ++c) {
        if (g_scale != nullptr) g_scale[c] += products[c] * r;
        if (g_shift != nullptr) g_shift[c] += sums[c];
        sum += scale[c] * sums[c];
        product += scale[c] * products[c] * r;
      }
      // gx = r * (scale * gy - sum / count - xhat * product / count), with xhat = (x - m) * r
      const float slope = -r * r * product / count;
      for (std::size_t c = g * width; c < (g + 1) * width; ++c) {
        sums[c] = scale[c] * r;
        products[c] = slope;
        centre[c] = -r * sum / count - slope * m;
      }
    }
    if (gx != nullptr)
      combine_rows(gy + n * size, sums, x + n * size, products, centre, shape.pixels, channels, gx + n * size);
  }
}

void group_norm_constant_gradient(const float* gy, const float* scale, const float* rstd, const NormShape& shape,
                                  float* gx, float* scratch) {
  const std::size_t channels = shape.channels, width = channels / shape.groups, size = shape.pixels * channels;
  float* const factor = scratch;
  float* const zero = scratch + channels;
  std::memset(zero, 0, channels * sizeof(float));
  for (std::size_t n = 0; n < shape.examples; ++n) {
    for (std::size_t c = 0; c < channels; ++c) factor[c] = scale[c] * rstd[n * shape.groups + c / width];
    scale_rows(gy + n * size, factor, zero, shape.pixels, channels, gx + n * size);
  }
}

void quantize_rows(const float* weight, std::size_t rows, std::size_t columns, std::int8_t* values, float* scales) {
  for (std::size_t row = 0; row < rows; ++row) {
    const float* const w = weight + row * columns;
    float largest = 0;
    for (std::size_t i = 0; i < columns; ++i) largest = std::max(largest, std::abs(w[i]));
    scales[row] = largest / 127;
    const float inverse = largest > 0 ? 127 / largest : 0;
    for (std::size_t i = 0; i < columns; ++i)
      values[row * columns + i] = static_cast<std::int8_t>(std::lrint(w[i] * inverse));
  }
}

SHOAL_VECTOR_CLONES void dequantize_rows(const std::int8_t* values, const float* scales, std::size_t rows,
                                         std::size_t columns, float* weight) {
  for (std::size_t row = 0; row < rows; ++row)
    for (std::size_t i = 0; i < columns; ++i)
      weight[row * columns + i] = static_cast<float>(values[row * columns + i]) * scales[row];
}

void max_pool(const float* x, const PoolShape& s, float* y, std::uint8_t* chosen) {
  const std::size_t in = s.height * s.width * s.channels, out = s.out_height * s.out_width * s.channels;
  for (std::size_t n = 0; n < s.examples; ++n)
    each_window(s, [&](std::size_t to, std::size_t from, std::size_t place) {
      const float* const pixel = x + n * in + from * s.channels;
      float* const best = y + n * out + to * s.channels;
      std::uint8_t* const where = chosen == nullptr ? nullptr : chosen + n * out + to * s.channels;
      if (place == 0) {
        std::memcpy(best, pixel, s.channels * sizeof(float));
        if (where != nullptr) std::memset(where, 0, s.channels);
      } else if (where != nullptr) {
        take_larger(pixel, static_cast<std::uint8_t>(place), best, where, s.channels);
      } else {
        take_larger(pixel, best, s.channels);
      }
    });
}

void max_pool_gradient(const float* gy, const std::uint8_t* chosen, const PoolShape& s, float* gx) {
  const std::size_t in = s.height * s.width * s.channels, out = s.out_height * s.out_width;
  std::memset(gx, 0, s.examples * in * sizeof(float));
  for (std::size_t n = 0; n < s.examples; ++n)
    for (std::size_t pixel = 0; pixel < out; ++pixel) {
      const std::size_t row = pixel / s.out_width * s.stride, column = pixel % s.out_width * s.stride;
      const std::size_t at = (n * out + pixel) * s.channels;
      for (std::size_t c = 0; c < s.channels; ++c) {
        const std::size_t place = chosen[at + c];
        const std::size_t from = (row + place / s.kernel) * s.width + column + place % s.kernel;
        gx[n * in + from * s.channels + c] += gy[at + c];
      }
    }
}

void average_pool(const float* x, const PoolShape& s, float* y) { gather(x, s, each_mean, y); }
void average_pool_gradient(const float* gy, const PoolShape& s, float* gx) { scatter(gy, s, each_mean, gx); }
void upsample(const float* x, const PoolShape& s, float* y) { gather(x, s, each_between, y); }
void upsample_gradient(const float* gy, const PoolShape& s, float* gx) { scatter(gy, s, each_between, gx); }

void global_average(const float* x, std::size_t examples, std::size_t pixels, std::size_t channels, float* y) {
  const float share = 1.0f / static_cast<float>(pixels);
  std::memset(y, 0, examples * channels * sizeof(float));
  for (std::size_t n = 0; n < examples; ++n)
    for (std::size_t p = 0; p < pixels; ++p)
      add_scaled(x + (n * pixels + p) * channels, share, y + n * channels, channels);
}

void global_average_gradient(const float* gy, std::size_t examples, std::size_t pixels, std::size_t channels,
                             float* gx) {
  const float share = 1.0f / static_cast<float>(pixels);
  std::memset(gx, 0, examples * pixels * channels * sizeof(float));
  for (std::size_t n = 0; n < examples; ++n)
    for (std::size_t p = 0; p < pixels; ++p)
      add_scaled(gy + n * channels, share, gx + (n * pixels + p) * channels, channels);
}

void transpose(const float* x, std::size_t examples, std::size_t pixels, std::size_t channels, float* y) {
  for (std::size_t n = 0; n < examples; ++n)
    for (std::size_t c = 0; c < channels; ++c)
      for (std::size_t p = 0; p < pixels; ++p) y[(n * channels + c) * pixels + p] = x[(n * pixels + p) * channels + c];
}

Scores cross_entropy(float* logits, const std::uint32_t* labels, std::size_t examples, std::size_t rows,
                     std::size_t classes, float scale) {
  Scores scores;
  for (std::size_t n = 0; n < examples; ++n) {
    float* const row = logits + n * classes;
    const auto best = static_cast<std::size_t>(std::max_element(row, row + classes) - row);
    const float largest = row[best], wanted = row[labels[n]];
    float sum = 0;
    for (std::size_t c = 0; c < classes; ++c) {
      const float e = std::exp(row[c] - largest);
      sum += e;
      if (scale > 0) row[c] = e;
    }
    scores.loss += std::log(sum) + (largest - wanted);
    scores.correct += best == labels[n];
    if (scale <= 0) continue;
    for (std::size_t c = 0; c < classes; ++c) row[c] *= scale / sum;
    row[labels[n]] -= scale;
  }
  if (scale > 0) std::fill(logits + examples * classes, logits + rows * classes, 0.0f);
  return scores;
}

}  // namespace shoal::client::training::engine::kernels
