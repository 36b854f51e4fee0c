// The engine's own kernels on sequences: [examples, tokens, features], all float32. Nothing of the model's size is
// allocated; arrays do not overlap unless it is said. Sums are taken in a fixed order.
#pragma once

#include <cstddef>

namespace shoal::client::training::engine::kernels {

// y[i] = row ids[i] of `table` [vocabulary, features]. Every id is a whole number below `vocabulary` (check_data).
void embedding(const float* ids, const float* table, std::size_t tokens, std::size_t vocabulary, std::size_t features,
               float* y);
// gradient [vocabulary, features] = the sum of gy's rows by id, or that added to it.
void embedding_gradient(const float* gy, const float* ids, std::size_t tokens, std::size_t vocabulary,
                        std::size_t features, float* gradient, bool add);

// y[e] = x[e] + position, of `size` values, for every example. y may be x.
void add_position(const float* x, const float* position, std::size_t examples, std::size_t size, float* y);

// y[e] = the last token's features; and their gradient, 0 for all other tokens.
void last_token(const float* x, std::size_t examples, std::size_t tokens, std::size_t features, float* y);
void last_token_gradient(const float* gy, std::size_t examples, std::size_t tokens, std::size_t features, float* gx);

// Layer normalization of every row (Ba et al. 2016). Writes `mean` and `rstd` [rows]. y may be x when no gradient is
// wanted.
void layer_norm(const float* x, const float* scale, const float* shift, std::size_t rows, std::size_t features,
                float epsilon, float* y, float* mean, float* rstd);
// The exact gradient. g_scale and g_shift [features] are written where not null, gx where not null; gx may be gy.
// `scratch` holds 2 * features floats.
void layer_norm_gradient(const float* gy, const float* x, const float* scale, const float* mean, const float* rstd,
                         std::size_t rows, std::size_t features, float* gx, float* g_scale, float* g_shift,
                         float* scratch);

struct AttentionShape {
  std::size_t examples, tokens, heads, features;  // of all heads together
  bool causal;                                    // no token sees a later one
};
// Softmax attention (Vaswani et al. 2017). `qkv` [examples, tokens, 3 * features] holds q, k and v of each token, `y`
// gets [examples, tokens, features]. Of the probabilities only the logarithm of each row's sum is kept, in `log_sums`
// [examples, heads, tokens]: the gradient makes them again from q and k (Dao et al. 2022), since tokens^2 floats for
// every head would often outweigh all else that a block keeps, and these products are a small part of its work.
// `scratch` holds tokens^2 floats.
void attention(const float* qkv, const AttentionShape& shape, float* y, float* log_sums, float* scratch);
// gqkv as qkv; `scratch` holds 2 * tokens^2 floats.
void attention_gradient(const float* gy, const float* qkv, const float* log_sums, const AttentionShape& shape,
                        float* gqkv, float* scratch);

}  // namespace shoal::client::training::engine::kernels
