// A model as single operations on values: the one reading of a description that its parameters, every trainer and the
// accounts of memory start from.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/tensor_layout.h"
#include "client/training/model_description.h"

namespace shoal::client::training {

enum class OpKind : std::uint8_t {
  kLinear,         // weight [out, in], bias [out]
  kConv2d,         // weight [out, in / groups, kernel, kernel], bias [out]
  kGroupNorm,      // weight [channels], bias [channels]
  kRelu,           // max(x, 0)
  kRelu6,          // min(max(x, 0), 6)
  kMaxPool,        // square window
  kAveragePool,    // square window
  kUpsample,       // bilinear, to the shape of the output; corners not aligned
  kGlobalAverage,  // {c, h, w} to {c}, or {tokens, features} to {features}
  kFlatten,        // {c, h, w} to {c * h * w}, row-major; likewise a sequence
  kAdd,            // of two values of one shape
  kEmbedding,      // weight [vocabulary, features]; {tokens} of ids to {tokens, features}
  kTokens,         // {c, h, w} to {h * w, c}
  kPosition,       // weight [tokens, features], added
  kLayerNorm,      // weight [features], bias [features]
  kGelu,           // x * Phi(x), the exact form (Hendrycks and Gimpel 2016)
  kAttention,  // softmax(q k^T / sqrt(features of a head)) v, head by head; {tokens, 3 * features}, in which q, k and
               // v of all heads follow each other, to {tokens, features}
  kLastToken,  // {tokens, features} to {features}
};
EnumNames<OpKind> enum_names(OpKind);

using ValueId = std::uint32_t;
using ParameterId = std::uint32_t;

inline constexpr float kNormEpsilon = 1e-5f;  // as PyTorch's

struct Op {
  OpKind kind = OpKind::kRelu;
  std::vector<ValueId> inputs = {};  // one; two for kAdd
  ValueId output = 0;
  std::optional<ParameterId> weight = {}, bias = {};
  std::uint32_t kernel = 0;   // window edge
  std::uint32_t stride = 1;   // of the window
  std::uint32_t padding = 0;  // zeros on every edge
  std::uint32_t groups = 1;   // of a convolution's channels, or of a norm's
  std::uint32_t heads = 1;    // of attention
  bool causal = false;        // attention: no token sees a later one
  std::uint32_t layer = 0;    // of the description
};

// A tensor that training may change, and how PyTorch draws it.
struct Parameter {
  TensorSpec spec;
  std::uint64_t fan_in = 0;  // uniform within 1/sqrt(fan_in); 0: all values are `constant`
  float constant = 0;

  std::uint64_t count() const;  // of values
};

// Values are written once, before they are read. Immutable once made.
struct Graph {
  std::vector<Shape> values;  // of one example, images with channels first; value 0 is the input
  std::vector<Op> ops;        // in an order of execution
  std::vector<Parameter> parameters;
  ValueId output = 0;  // the logits

  const Shape& shape(ValueId value) const { return values[value]; }
  std::size_t count(ValueId value) const;  // floats of one example
};

// kInvalid as shapes_of.
Result<Graph> graph_of(const ModelDescription& model);

}  // namespace shoal::client::training
