// From a model description to shapes, named parameters and their first values.
#include <algorithm>
#include <cmath>

#include "base/rng.h"
#include "client/training/graph.h"

namespace shoal::client::training {
namespace {

constexpr std::uint64_t kMaxChannels = 1u << 20;

std::string show(const Shape& shape) {
  std::string text;
  for (std::uint32_t extent : shape) text += (text.empty() ? "" : " x ") + std::to_string(extent);
  return text;
}

Error misfit(const Layer& layer, const Shape& in, std::string why) {
  const std::string name = layer.name.empty() ? "" : " " + layer.name;
  return Error(ErrorCode::kInvalid,
               "layer " + std::string(name_of(layer.kind)) + name + " cannot take " + show(in) + ": " + why);
}

// Edge of the output of a square window sliding over `edge` cells; 0 when the window does not fit once.
std::uint32_t window_out(std::uint32_t edge, std::uint32_t kernel, std::uint32_t stride, std::uint32_t padding) {
  const std::uint64_t padded = std::uint64_t{edge} + 2 * std::uint64_t{padding};
  return padded < kernel ? 0 : static_cast<std::uint32_t>((padded - kernel) / stride + 1);
}

Result<Shape> slide(const Layer& layer, const Shape& in, std::uint32_t channels, std::uint32_t kernel,
                    std::uint32_t stride, std::uint32_t padding) {
  if (channels == 0 || kernel == 0) return misfit(layer, in, "it needs out and kernel of at least 1");
  const Shape out{channels, window_out(in[1], kernel, stride, padding), window_out(in[2], kernel, stride, padding)};
  if (out[1] == 0 || out[2] == 0) return misfit(layer, in, "the window is larger than the image");
  return out;
}

// Checks every norm and window inside the block.
Result<Shape> mobile_shape(const Layer& layer, const Shape& in) {
  if (in.size() != 3) return misfit(layer, in, "it wants channels x height x width");
  const std::uint32_t stride = std::max(layer.stride, 1u);
  const std::uint64_t wide = std::uint64_t{in[0]} * std::max(layer.expand, 1u);
  if (wide > kMaxChannels) return misfit(layer, in, "expand makes too many channels");
  if (layer.kernel % 2 == 0) return misfit(layer, in, "kernel must be odd");
  if (layer.group_size == 0 || wide % layer.group_size != 0 || layer.out % layer.group_size != 0)
    return misfit(layer, in, "group_size must divide the expanded channels and out");
  SHOAL_TRY_ASSIGN(Shape out, slide(layer, in, layer.out, layer.kernel, stride, layer.kernel / 2));
  if (layer.lite == 0) return out;
  if (layer.lite % 2 == 0) return misfit(layer, in, "lite must be odd");
  if (in[0] % 2 != 0 || in[0] % layer.group_size != 0)
    return misfit(layer, in, "a lite branch needs an even number of channels that group_size divides");
  if (in[1] < 2 || in[2] < 2) return misfit(layer, in, "a lite branch needs at least 2 x 2 pixels");
  return out;
}

Result<Shape> flattened(const Layer& layer, const Shape& in) {
  std::uint64_t features = 1;
  for (std::uint32_t extent : in)
    if (__builtin_mul_overflow(features, extent, &features) || features > UINT32_MAX)
      return misfit(layer, in, "the result is too large");
  return Shape{static_cast<std::uint32_t>(features)};
}

Result<Shape> transformer_shape(const Layer& layer, const Shape& in) {
  if (in.size() != 2) return misfit(layer, in, "it wants tokens x features");
  if (layer.heads == 0 || in[1] % layer.heads != 0) return misfit(layer, in, "heads must divide the features");
  if (layer.hidden == 0) return misfit(layer, in, "it needs hidden of at least 1");
  return in;
}

// Layers of sequences, and what makes one or ends it.
Result<Shape> sequence_shape(const Layer& layer, const Shape& in) {
  const bool sequence = in.size() == 2;
  switch (layer.kind) {
    case LayerKind::kEmbedding:
      if (in.size() != 1) return misfit(layer, in, "it wants one number, of tokens");
      if (layer.out == 0 || layer.vocabulary == 0) return misfit(layer, in, "it needs out and vocabulary");
      return Shape{in[0], layer.out};
    case LayerKind::kTokens:
      if (in.size() != 3) return misfit(layer, in, "it wants channels x height x width");
      if (std::uint64_t{in[1]} * in[2] > UINT32_MAX) return misfit(layer, in, "the result is too large");
      return Shape{in[1] * in[2], in[0]};
    case LayerKind::kLayerNorm:
      if (in.size() == 3) return misfit(layer, in, "it wants tokens x features, or flat features");
      return in;
    case LayerKind::kTransformer: return transformer_shape(layer, in);
    case LayerKind::kLastToken:
      if (!sequence) return misfit(layer, in, "it wants tokens x features");
      return Shape{in[1]};
    default:  // kPosition
      if (!sequence) return misfit(layer, in, "it wants tokens x features");
      return in;
  }
}

Result<Shape> shape_after(const Layer& layer, const Shape& in) {
  const bool image = in.size() == 3;
  const auto stride_or = [&](std::uint32_t fallback) { return layer.stride == 0 ? fallback : layer.stride; };
  const auto bad_groups = [&](std::uint32_t channels) { return layer.groups == 0 || channels % layer.groups != 0; };
  switch (layer.kind) {
    case LayerKind::kLinear:
      if (image) return misfit(layer, in, "it wants flat features, put a flatten before it");
      if (layer.out == 0) return misfit(layer, in, "it needs out of at least 1");
      return in.size() == 2 ? Shape{in[0], layer.out} : Shape{layer.out};
    case LayerKind::kConv2d:
      if (!image) return misfit(layer, in, "it wants channels x height x width");
      if (layer.groups > 0 && (in[0] % layer.groups != 0 || layer.out % layer.groups != 0))
        return misfit(layer, in, "groups must divide the channels and out");
      return slide(layer, in, layer.out, layer.kernel, stride_or(1), layer.padding);
    case LayerKind::kGroupNorm:
      if (!image) return misfit(layer, in, "it wants channels x height x width");
      if (bad_groups(in[0])) return misfit(layer, in, "groups must divide the channels");
      return in;
    case LayerKind::kResidual:
      if (!image) return misfit(layer, in, "it wants channels x height x width");
      if (layer.out == 0 || bad_groups(layer.out)) return misfit(layer, in, "groups must divide out");
      return slide(layer, in, layer.out, 3, stride_or(1), 1);
    case LayerKind::kMobile: return mobile_shape(layer, in);
    case LayerKind::kRelu:
    case LayerKind::kRelu6: return in;
    case LayerKind::kMaxPool:
      if (!image) return misfit(layer, in, "it wants channels x height x width");
      return slide(layer, in, in[0], layer.kernel, stride_or(layer.kernel == 0 ? 1 : layer.kernel), 0);
    case LayerKind::kGlobalAverage:
      if (in.size() == 1) return misfit(layer, in, "it wants channels x height x width, or tokens x features");
      return Shape{image ? in[0] : in[1]};
    case LayerKind::kFlatten: return flattened(layer, in);
    case LayerKind::kEmbedding:
    case LayerKind::kTokens:
    case LayerKind::kPosition:
    case LayerKind::kLayerNorm:
    case LayerKind::kTransformer:
    case LayerKind::kLastToken: return sequence_shape(layer, in);
  }
  return misfit(layer, in, "its kind is unknown");
}

// A deviation that is almost zero would blow examples up beyond what training survives.
Status check_scales(const ModelDescription& model) {
  constexpr float kSmallest = 1e-6f, kLargest = 1e6f;
  const std::size_t given = model.standardize.size();
  if (given > 1 && given != model.input[0])
    return Error(ErrorCode::kInvalid, "model " + model.name + ": standardize has " + std::to_string(given) +
                                          " pairs; want one, or one for each of " + std::to_string(model.input[0]) +
                                          " channels");
  for (const InputScale& scale : model.standardize)
    if (!(std::abs(scale.mean) <= kLargest) || !(scale.deviation >= kSmallest && scale.deviation <= kLargest))
      return Error(ErrorCode::kInvalid, "model " + model.name +
                                            ": standardize wants means within 1e6 and deviations "
                                            "from 1e-6 to 1e6");
  return {};
}

}  // namespace

void standardize(const ModelDescription& model, std::span<float> example) {
  if (model.standardize.empty()) return;
  const std::size_t run = example.size() / model.standardize.size();
  for (std::size_t channel = 0; channel < model.standardize.size(); ++channel) {
    const InputScale scale = model.standardize[channel];
    for (float& value : example.subspan(channel * run, run)) value = (value - scale.mean) / scale.deviation;
  }
}

Result<std::vector<Shape>> shapes_of(const ModelDescription& model) {
  if (model.input.size() != 1 && model.input.size() != 3)
    return Error(ErrorCode::kInvalid, "model " + model.name + ": input must be one number or channels height width");
  for (std::uint32_t extent : model.input)
    if (extent == 0) return Error(ErrorCode::kInvalid, "model " + model.name + ": input has an extent of 0");
  SHOAL_TRY(check_scales(model));
  if (model.classes < 2) return Error(ErrorCode::kInvalid, "model " + model.name + ": it needs at least 2 classes");
  if (std::ranges::all_of(model.layers, &std::string::empty, &Layer::name))
    return Error(ErrorCode::kInvalid, "model " + model.name + ": no layer has parameters to train");
  std::vector<Shape> shapes{model.input};
  for (const Layer& layer : model.layers) {
    if (layer.kind == LayerKind::kEmbedding && (&layer != &model.layers.front() || !model.standardize.empty()))
      return misfit(layer, shapes.back(), "token ids must reach it as they are: first of all layers, not standardized");
    auto next = shape_after(layer, shapes.back());
    if (!next.ok()) return std::move(next).error().because_of_this("model " + model.name + " does not fit together");
    shapes.push_back(std::move(next).value());
  }
  if (shapes.back() != Shape{model.classes})
    return Error(ErrorCode::kInvalid, "model " + model.name + ": the last layer delivers " + show(shapes.back()) +
                                          " values, not one for each of " + std::to_string(model.classes) + " classes");
  return shapes;
}

Result<TensorLayout> layout_of(const ModelDescription& model) {
  SHOAL_TRY_ASSIGN(Graph graph, graph_of(model));
  std::vector<TensorSpec> specs;
  for (Parameter& p : graph.parameters) specs.push_back(std::move(p.spec));
  return TensorLayout::make(std::move(specs));
}

Status initialise(const ModelDescription& model, std::uint64_t seed, std::span<float> parameters) {
  SHOAL_TRY_ASSIGN(const Graph graph, graph_of(model));
  const std::vector<Parameter>& list = graph.parameters;
  SHOAL_TRY_ASSIGN(const TensorLayout layout, layout_of(model));
  SHOAL_CHECK(parameters.size() == layout.total(), "initialise: the buffer is not as long as the model");
  for (std::size_t i = 0; i < list.size(); ++i) {
    Stream stream(seed, list[i].spec.name);
    const double bound = list[i].fan_in == 0 ? 0 : 1 / std::sqrt(static_cast<double>(list[i].fan_in));
    for (float& value : parameters.subspan(layout.offset(i), layout.count(i)))
      value = list[i].fan_in == 0 ? list[i].constant : static_cast<float>((2 * stream.uniform() - 1) * bound);
  }
  return {};
}

}  // namespace shoal::client::training
