#include "client/training/engine/token_kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "base/rng.h"
#include "client/training/engine/onednn.h"

namespace shoal::client::training::engine::kernels {
namespace {

std::vector<float> random_floats(std::size_t n, std::uint64_t seed) {
  Stream draw(seed, "token kernels");
  std::vector<float> values(n);
  for (float& v : values) v = static_cast<float>(2 * draw.uniform() - 1);
  return values;
}

// The gradient by central differences of the weighted sum of what `forward` makes of `x`.
void expect_gradient(std::vector<float> x, const std::vector<float>& gradient, double tolerance,
                     const std::function<double(const std::vector<float>&)>& forward) {
  constexpr float kStep = 1e-3f;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const float was = x[i];
    x[i] = was + kStep;
    const double up = forward(x);
    x[i] = was - kStep;
    const double down = forward(x);
    x[i] = was;
    ASSERT_NEAR((up - down) / (2 * kStep), gradient[i], tolerance) << i;
  }
}

double weighted_sum(const std::vector<double>& y, const std::vector<float>& weights) {
  double sum = 0;
  for (std::size_t i = 0; i < y.size(); ++i) sum += y[i] * weights[i];
  return sum;
}

// ---- layer norm ----

std::vector<double> naive_layer_norm(const std::vector<float>& x, const std::vector<float>& scale,
                                     const std::vector<float>& shift, double epsilon) {
  const std::size_t features = scale.size();
  std::vector<double> y(x.size());
  for (std::size_t row = 0; row < x.size(); row += features) {
    double mean = 0, variance = 0;
    for (std::size_t i = 0; i < features; ++i) mean += x[row + i] / static_cast<double>(features);
    for (std::size_t i = 0; i < features; ++i)
      variance += std::pow(x[row + i] - mean, 2) / static_cast<double>(features);
    for (std::size_t i = 0; i < features; ++i)
      y[row + i] = (x[row + i] - mean) / std::sqrt(variance + epsilon) * scale[i] + shift[i];
  }
  return y;
}

TEST(LayerNorm, IsItsDefinitionAndItsGradientThatOfFiniteDifferences) {
  for (const std::size_t features : {1u, 5u, 16u, 33u}) {
    const std::size_t rows = 70;
    const auto x = random_floats(rows * features, 1), gy = random_floats(rows * features, 2),
               scale = random_floats(features, 3), shift = random_floats(features, 4);
    std::vector<float> y(x.size()), mean(rows), rstd(rows), gx(x.size()), ga(features), gb(features),
        scratch(2 * features);
    layer_norm(x.data(), scale.data(), shift.data(), rows, features, 1e-2f, y.data(), mean.data(), rstd.data());
    const auto want = naive_layer_norm(x, scale, shift, 1e-2);
    for (std::size_t i = 0; i < y.size(); ++i) ASSERT_NEAR(y[i], want[i], 1e-5);

    layer_norm_gradient(gy.data(), x.data(), scale.data(), mean.data(), rstd.data(), rows, features, gx.data(),
                        ga.data(), gb.data(), scratch.data());
    expect_gradient(x, gx, 2e-3,
                    [&](const auto& at) { return weighted_sum(naive_layer_norm(at, scale, shift, 1e-2), gy); });
    expect_gradient(scale, ga, 1e-2,
                    [&](const auto& at) { return weighted_sum(naive_layer_norm(x, at, shift, 1e-2), gy); });
    expect_gradient(shift, gb, 1e-2,
                    [&](const auto& at) { return weighted_sum(naive_layer_norm(x, scale, at, 1e-2), gy); });

    std::vector<float> in_place = gy, only(features), other(features);
    layer_norm_gradient(in_place.data(), x.data(), scale.data(), mean.data(), rstd.data(), rows, features,
                        in_place.data(), nullptr, nullptr, scratch.data());
    EXPECT_EQ(in_place, gx);
    layer_norm_gradient(gy.data(), x.data(), scale.data(), mean.data(), rstd.data(), rows, features, nullptr,
                        only.data(), other.data(), scratch.data());
    EXPECT_EQ(only, ga);
    EXPECT_EQ(other, gb);
    in_place = x;
    layer_norm(in_place.data(), scale.data(), shift.data(), rows, features, 1e-2f, in_place.data(), mean.data(),
               rstd.data());
    EXPECT_EQ(in_place, y);
  }
}

// ---- attention ----

std::vector<double> naive_attention(const std::vector<float>& qkv, const AttentionShape& s) {
  const std::size_t size = s.features / s.heads, width = 3 * s.features;
  std::vector<double> y(s.examples * s.tokens * s.features);
  for (std::size_t e = 0; e < s.examples; ++e)
    for (std::size_t h = 0; h < s.heads; ++h)
      for (std::size_t i = 0; i < s.tokens; ++i) {
        const auto at = [&](std::size_t token, std::size_t part) {
          return qkv.data() + (e * s.tokens + token) * width + part * s.features + h * size;
        };
        const std::size_t n = s.causal ? i + 1 : s.tokens;
        std::vector<double> p(n);
        double sum = 0;
        for (std::size_t j = 0; j < n; ++j) {
          double score = 0;
          for (std::size_t d = 0; d < size; ++d) score += double{at(i, 0)[d]} * at(j, 1)[d];
          sum += p[j] = std::exp(score / std::sqrt(static_cast<double>(size)));
        }
        for (std::size_t j = 0; j < n; ++j)
          for (std::size_t d = 0; d < size; ++d)
            y[(e * s.tokens + i) * s.features + h * size + d] += p[j] / sum * at(j, 2)[d];
      }
  return y;
}

struct Attended {
  Attended(const std::vector<float>& qkv, const AttentionShape& s)
      : y(s.examples * s.tokens * s.features),
        log_sums(s.examples * s.heads * s.tokens),
        scratch(2 * s.tokens * s.tokens) {
    attention(qkv.data(), s, y.data(), log_sums.data(), scratch.data());
  }
  std::vector<float> y, log_sums, scratch;
};

class Attention : public testing::TestWithParam<AttentionShape> {
 protected:
  void SetUp() override { use_one_thread(); }
  std::size_t size() const { return GetParam().examples * GetParam().tokens * 3 * GetParam().features; }
};

TEST_P(Attention, IsItsDefinitionAndItsGradientThatOfFiniteDifferences) {
  const AttentionShape s = GetParam();
  const auto qkv = random_floats(size(), 1), gy = random_floats(size() / 3, 2);
  Attended attended(qkv, s);
  const auto want = naive_attention(qkv, s);
  for (std::size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(attended.y[i], want[i], 1e-5);
  std::vector<float> gqkv(size(), 77);
  attention_gradient(gy.data(), qkv.data(), attended.log_sums.data(), s, gqkv.data(), attended.scratch.data());
  expect_gradient(qkv, gqkv, 1e-3, [&](const auto& at) { return weighted_sum(naive_attention(at, s), gy); });
}

TEST_P(Attention, LooksAheadOnlyWhereItMay) {
  const AttentionShape s = GetParam();
  auto qkv = random_floats(size(), 1);
  const Attended before(qkv, s);
  // Another last token of every example, so large that it would outweigh all others.
  for (std::size_t e = 0; e < s.examples; ++e)
    for (std::size_t c = 0; c < 3 * s.features; ++c) qkv[((e + 1) * s.tokens - 1) * 3 * s.features + c] += 50;
  const Attended after(qkv, s);
  for (std::size_t e = 0; e < s.examples; ++e)
    for (std::size_t i = 0; i < s.tokens; ++i) {
      const auto row = [&](const Attended& of) {
        const auto begin = of.y.begin() + static_cast<std::ptrdiff_t>((e * s.tokens + i) * s.features);
        return std::vector<float>(begin, begin + static_cast<std::ptrdiff_t>(s.features));
      };
      const bool sees = !s.causal || i + 1 == s.tokens;
      EXPECT_EQ(row(before) != row(after), sees) << "token " << i;
    }
}

TEST_P(Attention, BearsScoresThatNoExponentialDoes) {
  const AttentionShape s = GetParam();
  auto qkv = random_floats(size(), 1);
  for (float& v : qkv) v *= 1e4f;
  Attended attended(qkv, s);
  std::vector<float> gqkv(size());
  attention_gradient(attended.y.data(), qkv.data(), attended.log_sums.data(), s, gqkv.data(), attended.scratch.data());
  for (const float v : attended.y) ASSERT_TRUE(std::isfinite(v));
  for (const float v : gqkv) ASSERT_TRUE(std::isfinite(v));
}

TEST_P(Attention, TreatsEveryExampleByItself) {
  const AttentionShape s = GetParam();
  const auto qkv = random_floats(size(), 1);
  const Attended together(qkv, s);
  AttentionShape single = s;
  single.examples = 1;
  const std::size_t n = size() / s.examples;
  for (std::size_t e = 0; e < s.examples; ++e) {
    const auto begin = qkv.begin() + static_cast<std::ptrdiff_t>(e * n);
    const Attended alone(std::vector<float>(begin, begin + static_cast<std::ptrdiff_t>(n)), single);
    for (std::size_t i = 0; i < n / 3; ++i) ASSERT_EQ(alone.y[i], together.y[e * n / 3 + i]);
  }
}
INSTANTIATE_TEST_SUITE_P(Shapes, Attention,
                         testing::Values(AttentionShape{2, 5, 2, 6, false}, AttentionShape{2, 5, 2, 6, true},
                                         AttentionShape{1, 1, 1, 3, true}, AttentionShape{1, 19, 1, 4, true},
                                         AttentionShape{3, 17, 3, 12, false}));

// ---- the ends of a sequence ----

TEST(Embedding, LooksUpRowsAndSumsTheirGradients) {
  const std::vector<float> ids{2, 0, 2, 4}, table = random_floats(5 * 3, 1), gy = random_floats(4 * 3, 2);
  std::vector<float> y(12), gradient(15, 77);
  embedding(ids.data(), table.data(), 4, 5, 3, y.data());
  for (std::size_t i = 0; i < 12; ++i) EXPECT_EQ(y[i], table[static_cast<std::size_t>(ids[i / 3]) * 3 + i % 3]);
  embedding_gradient(gy.data(), ids.data(), 4, 5, 3, gradient.data(), false);
  const std::vector<float> once = gradient;
  for (std::size_t c = 0; c < 3; ++c) {
    EXPECT_EQ(gradient[c], gy[3 + c]);
    EXPECT_EQ(gradient[3 + c], 0);
    EXPECT_EQ(gradient[6 + c], gy[c] + gy[6 + c]);
  }
  embedding_gradient(gy.data(), ids.data(), 4, 5, 3, gradient.data(), true);
  for (std::size_t i = 0; i < 15; ++i) EXPECT_NEAR(gradient[i], 2 * once[i], 1e-6);
}

TEST(EmbeddingDeathTest, EndsTheProgramRatherThanReadElsewhere) {
  const std::vector<float> table(15);
  std::vector<float> y(3);
  for (const float id : {5.0f, -1.0f, std::numeric_limits<float>::quiet_NaN()})
    EXPECT_DEATH(embedding(&id, table.data(), 1, 5, 3, y.data()), "vocabulary");
}

TEST(LastToken, IsTheLastOfEveryExample) {
  const std::vector<float> x = random_floats(2 * 3 * 2, 1), gy{1, 2, 3, 4};
  std::vector<float> y(4), gx(12, 77);
  last_token(x.data(), 2, 3, 2, y.data());
  EXPECT_EQ(y, (std::vector<float>{x[4], x[5], x[10], x[11]}));
  last_token_gradient(gy.data(), 2, 3, 2, gx.data());
  EXPECT_EQ(gx, (std::vector<float>{0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 3, 4}));
}

TEST(Position, IsAddedToEveryExample) {
  std::vector<float> x{1, 2, 3, 4};
  const std::vector<float> position{10, 20};
  add_position(x.data(), position.data(), 2, 2, x.data());
  EXPECT_EQ(x, (std::vector<float>{11, 22, 13, 24}));
}

}  // namespace
}  // namespace shoal::client::training::engine::kernels
