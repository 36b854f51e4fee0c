#include "client/training/engine/kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "base/rng.h"

namespace shoal::client::training::engine::kernels {
namespace {

std::vector<float> random_floats(std::size_t n, std::uint64_t seed) {
  Stream draw(seed, "kernels");
  std::vector<float> values(n);
  for (float& v : values) v = static_cast<float>(2 * draw.uniform() - 1);
  return values;
}

TEST(Relu, KeepsOneBitAnElementWhateverTheLength) {
  for (const float cap : {std::numeric_limits<float>::infinity(), 0.5f})
    for (const std::size_t n : {1u, 7u, 8u, 9u, 63u, 64u, 65u, 100u, 128u, 1000u, 1023u}) {
      std::vector<float> x = random_floats(n, n);
      x[n / 2] = 0;
      const std::vector<float> gy = random_floats(n, n + 1);
      std::vector<float> y(n), gx(n);
      std::vector<std::uint8_t> mask((n + 7) / 8 + 1, 0xAB);
      relu(x.data(), y.data(), mask.data(), n, cap);
      relu_gradient(gy.data(), mask.data(), gx.data(), n);
      EXPECT_EQ(mask.back(), 0xAB) << "nothing is written behind the last byte";
      for (std::size_t i = 0; i < n; ++i) {
        EXPECT_EQ(y[i], x[i] > cap ? cap : x[i] > 0 ? x[i] : 0);
        EXPECT_EQ(gx[i], x[i] >= 0 && x[i] <= cap ? gy[i] : 0) << "an input of 0 passes its gradient on";
      }
      for (std::size_t i = n; i < mask.size() * 8 - 8; ++i) EXPECT_EQ(mask[i / 8] >> (i % 8) & 1, 0);
      std::vector<float> in_place = x;
      relu(in_place.data(), in_place.data(), nullptr, n, cap);
      EXPECT_EQ(in_place, y);
    }
}

// The definition, in double.
struct NaiveNorm {
  NaiveNorm(const std::vector<float>& x, const std::vector<float>& scale, const std::vector<float>& shift,
            const NormShape& s, double epsilon) {
    y.resize(x.size());
    const std::size_t width = s.channels / s.groups;
    for (std::size_t n = 0; n < s.examples; ++n)
      for (std::size_t g = 0; g < s.groups; ++g) {
        double mean = 0, variance = 0;
        const auto each = [&](auto work) {
          for (std::size_t p = 0; p < s.pixels; ++p)
            for (std::size_t c = g * width; c < (g + 1) * width; ++c) work((n * s.pixels + p) * s.channels + c, c);
        };
        const auto count = static_cast<double>(s.pixels * width);
        each([&](std::size_t i, std::size_t) { mean += x[i] / count; });
        each([&](std::size_t i, std::size_t) { variance += (x[i] - mean) * (x[i] - mean) / count; });
        each([&](std::size_t i, std::size_t c) {
          y[i] = (x[i] - mean) / std::sqrt(variance + epsilon) * scale[c] + shift[c];
        });
      }
  }
  std::vector<double> y;
};

class GroupNorm : public testing::TestWithParam<NormShape> {};

TEST_P(GroupNorm, IsItsDefinitionAndItsGradientThatOfFiniteDifferences) {
  const NormShape s = GetParam();
  const std::size_t n = s.examples * s.pixels * s.channels;
  const std::vector<float> x = random_floats(n, 1), gy = random_floats(n, 2), scale = random_floats(s.channels, 3),
                           shift = random_floats(s.channels, 4);
  std::vector<float> y(n), mean(s.examples * s.groups), rstd(mean), scratch(3 * s.channels), gx(n), ga(s.channels),
      gb(s.channels);
  group_norm(x.data(), scale.data(), shift.data(), s, 1e-5f, y.data(), mean.data(), rstd.data(), scratch.data());
  const NaiveNorm naive(x, scale, shift, s, 1e-5);
  for (std::size_t i = 0; i < n; ++i) ASSERT_NEAR(y[i], naive.y[i], 1e-5);

  group_norm_gradient(gy.data(), x.data(), scale.data(), mean.data(), rstd.data(), s, gx.data(), ga.data(), gb.data(),
                      scratch.data());
  const auto loss = [&](const std::vector<float>& in, const std::vector<float>& a, const std::vector<float>& b) {
    const NaiveNorm norm(in, a, b, s, 1e-5);
    double sum = 0;
    for (std::size_t i = 0; i < n; ++i) sum += gy[i] * norm.y[i];
    return sum;
  };
  const auto slope = [&](std::vector<float> in, std::vector<float> a, std::vector<float> b, int which, std::size_t i) {
    std::vector<float>& moved = which == 0 ? in : which == 1 ? a : b;
    const float at = moved[i];
    moved[i] = at + 1e-3f;
    const double up = loss(in, a, b), high = moved[i];
    moved[i] = at - 1e-3f;
    return (up - loss(in, a, b)) / (high - moved[i]);
  };
  for (std::size_t i = 0; i < n; i += 1 + n / 40) EXPECT_NEAR(gx[i], slope(x, scale, shift, 0, i), 2e-3) << i;
  for (std::size_t c = 0; c < s.channels; ++c) {
    EXPECT_NEAR(ga[c], slope(x, scale, shift, 1, c), 2e-3) << c;
    EXPECT_NEAR(gb[c], slope(x, scale, shift, 2, c), 2e-3) << c;
  }

  std::vector<float> in_place = gy, constant(n);
  group_norm_gradient(in_place.data(), x.data(), scale.data(), mean.data(), rstd.data(), s, in_place.data(), nullptr,
                      nullptr, scratch.data());
  EXPECT_EQ(in_place, gx);
  group_norm_constant_gradient(gy.data(), scale.data(), rstd.data(), s, constant.data(), scratch.data());
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t c = i % s.channels, g = i / s.channels / s.pixels * s.groups + c / (s.channels / s.groups);
    EXPECT_FLOAT_EQ(constant[i], gy[i] * (scale[c] * rstd[g]));
  }
}
INSTANTIATE_TEST_SUITE_P(Shapes, GroupNorm,
                         testing::Values(NormShape{1, 1, 4, 2}, NormShape{2, 9, 6, 3}, NormShape{3, 130, 16, 2},
                                         NormShape{1, 70, 5, 1}));

TEST(Depthwise, ItsWeightsGradientIsTheSumOverAllWindows) {
  for (const std::size_t kernel : {3u, 5u, 7u})
    for (const std::size_t stride : {1u, 2u})
      for (const std::size_t channels : {8u, 16u, 40u, 3u}) {
        const std::size_t padding = kernel / 2, height = 9, width = 10;
        const DepthwiseShape s{2,
                               height,
                               width,
                               channels,
                               (height + 2 * padding - kernel) / stride + 1,
                               (width + 2 * padding - kernel) / stride + 1,
                               kernel,
                               stride,
                               padding};
        const std::vector<float> x = random_floats(2 * height * width * channels, kernel),
                                 gy = random_floats(2 * s.out_height * s.out_width * channels, stride);
        std::vector<float> gw(channels * kernel * kernel);
        depthwise_gradient(gy.data(), x.data(), s, gw.data());
        for (std::size_t c = 0; c < channels; ++c)
          for (std::size_t i = 0; i < kernel; ++i)
            for (std::size_t j = 0; j < kernel; ++j) {
              double sum = 0;
              for (std::size_t n = 0; n < 2; ++n)
                for (std::size_t r = 0; r < s.out_height; ++r)
                  for (std::size_t q = 0; q < s.out_width; ++q) {
                    const std::size_t y = r * stride + i, z = q * stride + j;
                    if (y < padding || y - padding >= height || z < padding || z - padding >= width) continue;
                    sum += double{gy[((n * s.out_height + r) * s.out_width + q) * channels + c]} *
                           x[((n * height + y - padding) * width + z - padding) * channels + c];
                  }
              ASSERT_NEAR(gw[(c * kernel + i) * kernel + j], sum, 1e-4) << kernel << stride << channels;
            }
      }
}

TEST(QuantizedRows, AreWithinHalfAStepAndKeepZeroRows) {
  const std::size_t rows = 5, columns = 37;
  std::vector<float> w = random_floats(rows * columns, 6), back(w.size());
  std::fill(w.begin(), w.begin() + columns, 0.0f);
  std::vector<std::int8_t> values(w.size());
  std::vector<float> scales(rows);
  quantize_rows(w.data(), rows, columns, values.data(), scales.data());
  dequantize_rows(values.data(), scales.data(), rows, columns, back.data());
  for (std::size_t i = 0; i < w.size(); ++i) EXPECT_LE(std::abs(w[i] - back[i]), 0.5001f * scales[i / columns]);
  EXPECT_EQ(back[0], 0);
}

TEST(MaxPool, GivesItsGradientToTheFirstLargest) {
  const PoolShape s{2, 5, 4, 3, 2, 2, 2, 2};
  std::vector<float> x = random_floats(2 * 5 * 4 * 3, 7);
  x[0] = x[3] = 5;  // a tie in the first window
  std::vector<float> y(2 * 2 * 2 * 3), gx(x.size()), again(y.size());
  std::vector<std::uint8_t> chosen(y.size());
  max_pool(x.data(), s, y.data(), chosen.data());
  max_pool(x.data(), s, again.data(), nullptr);
  EXPECT_EQ(y, again);
  const std::vector<float> gy = random_floats(y.size(), 8);
  max_pool_gradient(gy.data(), chosen.data(), s, gx.data());
  std::vector<float> want(x.size());
  for (std::size_t n = 0; n < 2; ++n)
    for (std::size_t r = 0; r < 2; ++r)
      for (std::size_t q = 0; q < 2; ++q)
        for (std::size_t c = 0; c < 3; ++c) {
          std::size_t best = SIZE_MAX;
          for (std::size_t i = 0; i < 2; ++i)
            for (std::size_t j = 0; j < 2; ++j) {
              const std::size_t at = ((n * 5 + 2 * r + i) * 4 + 2 * q + j) * 3 + c;
              if (best == SIZE_MAX || x[at] > x[best]) best = at;
            }
          const std::size_t out = ((n * 2 + r) * 2 + q) * 3 + c;
          EXPECT_EQ(y[out], x[best]);
          want[best] += gy[out];
        }
  EXPECT_EQ(gx, want);
}

// <gy, pool(x)> = <pool_gradient(gy), x> for what is linear.
TEST(AveragePool, IsTheAdjointOfItsGradient) {
  const PoolShape s{2, 5, 4, 3, 2, 2, 2, 2};
  const std::vector<float> x = random_floats(2 * 5 * 4 * 3, 1), gy = random_floats(2 * 2 * 2 * 3, 2);
  std::vector<float> y(gy.size()), gx(x.size());
  average_pool(x.data(), s, y.data());
  average_pool_gradient(gy.data(), s, gx.data());
  EXPECT_FLOAT_EQ(y[0], (x[0] + x[3] + x[12] + x[15]) / 4);
  double forward = 0, backward = 0;
  for (std::size_t i = 0; i < y.size(); ++i) forward += double{y[i]} * gy[i];
  for (std::size_t i = 0; i < x.size(); ++i) backward += double{gx[i]} * x[i];
  EXPECT_NEAR(forward, backward, 1e-5);
}

TEST(Upsample, IsBilinearAndTheAdjointOfItsGradient) {
  const PoolShape s{2, 3, 2, 5, 0, 0, 6, 5};
  const std::vector<float> x = random_floats(2 * 3 * 2 * 5, 1), gy = random_floats(2 * 6 * 5 * 5, 2);
  std::vector<float> y(gy.size()), gx(x.size());
  upsample(x.data(), s, y.data());
  upsample_gradient(gy.data(), s, gx.data());
  double forward = 0, backward = 0;
  for (std::size_t i = 0; i < y.size(); ++i) forward += double{y[i]} * gy[i];
  for (std::size_t i = 0; i < x.size(); ++i) backward += double{gx[i]} * x[i];
  EXPECT_NEAR(forward, backward, 1e-4);
  EXPECT_EQ(y[0], x[0]) << "a corner";
  // Row 1 of 6 lies at 0.25 of the way from row 0 to row 1 of 3.
  EXPECT_FLOAT_EQ(y[1 * 5 * 5], 0.75f * x[0] + 0.25f * x[2 * 5]);
}

TEST(CrossEntropy, OfRowsBeyondTheExamplesIsNothing) {
  const std::size_t rows = 3, classes = 4;
  std::vector<float> logits = random_floats(rows * classes, 3), kept = logits;
  const std::vector<std::uint32_t> labels{2, 0, 1};
  const Scores scores = cross_entropy(logits.data(), labels.data(), 2, rows, classes, 0.5f);
  double loss = 0;
  for (std::size_t n = 0; n < 2; ++n) {
    double sum = 0;
    for (std::size_t c = 0; c < classes; ++c) sum += std::exp(double{kept[n * classes + c]});
    loss += std::log(sum) - kept[n * classes + labels[n]];
    for (std::size_t c = 0; c < classes; ++c)
      EXPECT_NEAR(logits[n * classes + c], 0.5 * (std::exp(double{kept[n * classes + c]}) / sum - (c == labels[n])),
                  1e-6);
  }
  EXPECT_NEAR(scores.loss, loss, 1e-6);
  for (std::size_t c = 0; c < classes; ++c) EXPECT_EQ(logits[2 * classes + c], 0);

  std::vector<float> untouched = kept;
  EXPECT_NEAR(cross_entropy(untouched.data(), labels.data(), 2, rows, classes, 0).loss, loss, 1e-6);
  EXPECT_EQ(untouched, kept);
}

TEST(CrossEntropy, SurvivesLargeLogits) {
  std::vector<float> logits{1e4f, -1e4f};
  const std::uint32_t label = 1;
  const Scores scores = cross_entropy(logits.data(), &label, 1, 1, 2, 1);
  EXPECT_FLOAT_EQ(static_cast<float>(scores.loss), 2e4f);
  EXPECT_EQ(scores.correct, 0u);
  EXPECT_FLOAT_EQ(logits[0], 1);
}

TEST(Transpose, ThereAndBackIsNoChange) {
  const std::vector<float> x = random_floats(2 * 6 * 3, 5);
  std::vector<float> y(x.size()), z(x.size());
  transpose(x.data(), 2, 6, 3, y.data());
  EXPECT_EQ(y[1], x[3]);
  transpose(y.data(), 2, 3, 6, z.data());
  EXPECT_EQ(z, x);
}

// Odd extents leave rows, columns and lanes over in every block.
TEST(SmallProducts, AreTheirDefinition) {
  for (const std::size_t rows : {1u, 4u, 5u, 10u, 13u})
    for (const std::size_t columns : {1u, 3u, 16u, 37u})
      for (const std::size_t depth : {1u, 7u, 32u, 85u}) {
        const ProductShape s{rows, columns, depth};
        const std::vector<float> x = random_floats(rows * depth, 1), w = random_floats(columns * depth, 2),
                                 bias = random_floats(columns, 3), b = random_floats(depth * columns, 4);
        const std::size_t y_row = columns + 2;
        std::vector<float> y(rows * y_row, 9), c = random_floats(rows * columns + 1, 5), sum = c, turned(rows * depth);
        small_linear(x.data(), w.data(), bias.data(), s, y.data(), y_row);
        for (std::size_t r = 0; r < rows; ++r)
          for (std::size_t k = 0; k < depth; ++k) turned[k * rows + r] = x[r * depth + k];
        small_product(x.data(), depth, 1, b.data(), s, 2, false, c.data());
        small_product(turned.data(), 1, rows, b.data(), s, -0.5f, true, sum.data());
        const std::vector<float> before = random_floats(rows * columns + 1, 5);
        for (std::size_t r = 0; r < rows; ++r) {
          for (std::size_t o = 0; o < columns; ++o) {
            double linear = bias[o], product = 0;
            for (std::size_t k = 0; k < depth; ++k) {
              linear += double{x[r * depth + k]} * w[o * depth + k];
              product += double{x[r * depth + k]} * b[k * columns + o];
            }
            ASSERT_NEAR(y[r * y_row + o], linear, 2e-5);
            ASSERT_NEAR(c[r * columns + o], 2 * product, 4e-5);
            ASSERT_NEAR(sum[r * columns + o], before[r * columns + o] - product / 2, 2e-5);
          }
          EXPECT_EQ(y[r * y_row + columns], 9) << "nothing is written between two rows";
        }
        EXPECT_EQ(c.back(), before.back());
        EXPECT_EQ(sum.back(), before.back());
      }
}

}  // namespace
}  // namespace shoal::client::training::engine::kernels
