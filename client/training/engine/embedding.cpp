// Kernels where a sequence begins and ends: tables of tokens and positions, and the last token.
#include <cstring>

#include "base/check.h"
#include "base/vector_clones.h"
#include "client/training/engine/token_kernels.h"

namespace shoal::client::training::engine::kernels {
namespace {

// A wrong id would be read as a place in memory.
std::size_t row_of(float id, std::size_t vocabulary) {
  SHOAL_CHECK(id >= 0 && id < static_cast<float>(vocabulary), "a token id beyond the vocabulary");
  return static_cast<std::size_t>(id);
}

SHOAL_VECTOR_CLONES void sum(const float* a, const float* b, float* to, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) to[i] = a[i] + b[i];
}

}  // namespace

void embedding(const float* ids, const float* table, std::size_t tokens, std::size_t vocabulary, std::size_t features,
               float* y) {
  for (std::size_t i = 0; i < tokens; ++i)
    std::memcpy(y + i * features, table + row_of(ids[i], vocabulary) * features, features * sizeof(float));
}

void embedding_gradient(const float* gy, const float* ids, std::size_t tokens, std::size_t vocabulary,
                        std::size_t features, float* gradient, bool add) {
  if (!add) std::memset(gradient, 0, vocabulary * features * sizeof(float));
  for (std::size_t i = 0; i < tokens; ++i) {
    float* const row = gradient + row_of(ids[i], vocabulary) * features;
    sum(row, gy + i * features, row, features);
  }
}

void add_position(const float* x, const float* position, std::size_t examples, std::size_t size, float* y) {
  for (std::size_t e = 0; e < examples; ++e) sum(x + e * size, position, y + e * size, size);
}

void last_token(const float* x, std::size_t examples, std::size_t tokens, std::size_t features, float* y) {
  for (std::size_t e = 0; e < examples; ++e)
    std::memcpy(y + e * features, x + ((e + 1) * tokens - 1) * features, features * sizeof(float));
}

void last_token_gradient(const float* gy, std::size_t examples, std::size_t tokens, std::size_t features, float* gx) {
  std::memset(gx, 0, examples * tokens * features * sizeof(float));
  for (std::size_t e = 0; e < examples; ++e)
    std::memcpy(gx + ((e + 1) * tokens - 1) * features, gy + e * features, features * sizeof(float));
}

}  // namespace shoal::client::training::engine::kernels
