#include "client/training/graph.h"

#include <algorithm>
#include <array>
#include <functional>
#include <numeric>
#include <utility>

namespace shoal::client::training {
namespace {

std::uint32_t stride_of(const Layer& layer, std::uint32_t fallback) {
  return layer.stride == 0 ? fallback : layer.stride;
}

std::uint32_t slide(std::uint32_t edge, const Op& op) { return (edge + 2 * op.padding - op.kernel) / op.stride + 1; }

// Adds operations one after the other; each function returns the value that its operation makes.
class Builder {
 public:
  explicit Builder(const Shape& input) { graph_.values.push_back(input); }

  // What is added from now on belongs to this layer of the description.
  void begin_layer(std::size_t layer) { layer_ = static_cast<std::uint32_t>(layer); }

  ValueId linear(ValueId x, const std::string& name, std::uint32_t out, bool bias, bool head) {
    Op op{.kind = OpKind::kLinear, .inputs = {x}};
    dense(op, name, {out, shape(x)[0]}, bias, head);
    return add(std::move(op), {out});
  }

  ValueId conv(ValueId x, const std::string& name, Op op, std::uint32_t out, bool bias) {
    op.kind = OpKind::kConv2d;
    op.inputs = {x};
    op.groups = std::max(op.groups, 1u);
    dense(op, name, {out, shape(x)[0] / op.groups, op.kernel, op.kernel}, bias, false);
    Shape after{out, slide(shape(x)[1], op), slide(shape(x)[2], op)};
    return add(std::move(op), std::move(after));
  }

  ValueId group_norm(ValueId x, const std::string& name, std::uint32_t groups) {
    Op op{.kind = OpKind::kGroupNorm, .inputs = {x}, .groups = groups};
    const std::uint64_t channels = shape(x)[0];
    op.weight = parameter(name + ".weight", {channels}, "norm", 0, 1);
    op.bias = parameter(name + ".bias", {channels}, "norm", 0, 0);
    return add(std::move(op), shape(x));
  }

  ValueId relu(ValueId x) { return add({.kind = OpKind::kRelu, .inputs = {x}}, shape(x)); }
  ValueId relu6(ValueId x) { return add({.kind = OpKind::kRelu6, .inputs = {x}}, shape(x)); }
  ValueId sum(ValueId a, ValueId b) { return add({.kind = OpKind::kAdd, .inputs = {a, b}}, shape(a)); }

  ValueId max_pool(ValueId x, std::uint32_t kernel, std::uint32_t stride) {
    Op op{.kind = OpKind::kMaxPool, .inputs = {x}, .kernel = kernel, .stride = stride};
    Shape after{shape(x)[0], slide(shape(x)[1], op), slide(shape(x)[2], op)};
    return add(std::move(op), std::move(after));
  }

  // To features: the mean of every channel, or all values in a row.
  ValueId global_average(ValueId x) { return add({.kind = OpKind::kGlobalAverage, .inputs = {x}}, {shape(x)[0]}); }
  ValueId flatten(ValueId x) {
    std::uint32_t features = 1;
    for (const std::uint32_t extent : shape(x)) features *= extent;
    return add({.kind = OpKind::kFlatten, .inputs = {x}}, {features});
  }

  // Basic block (He et al. 2016), with the names of torchvision's.
  ValueId residual(ValueId x, const Layer& layer) {
    const std::uint32_t stride = stride_of(layer, 1);
    const auto conv3 = [](std::uint32_t s) { return Op{.kernel = 3, .stride = s, .padding = 1}; };
    ValueId y = conv(x, layer.name + ".conv1", conv3(stride), layer.out, false);
    y = relu(group_norm(y, layer.name + ".norm1", layer.groups));
    y = conv(y, layer.name + ".conv2", conv3(1), layer.out, false);
    y = group_norm(y, layer.name + ".norm2", layer.groups);
    if (shape(x) != shape(y)) {
      x = conv(x, layer.name + ".downsample.0", {.kernel = 1, .stride = stride}, layer.out, false);
      x = group_norm(x, layer.name + ".downsample.1", layer.groups);
    }
    return relu(sum(y, x));
  }

  ValueId mobile(ValueId x, const Layer& layer) {
    const std::uint32_t stride = stride_of(layer, 1);
    ValueId y = x;
    if (layer.expand > 1) {
      const std::uint32_t wide = shape(x)[0] * layer.expand;
      y = conv(y, layer.name + ".expand.conv", {.kernel = 1}, wide, false);
      y = relu6(group_norm(y, layer.name + ".expand.norm", wide / layer.group_size));
    }
    const std::uint32_t wide = shape(y)[0];
    y = conv(y, layer.name + ".depthwise.conv",
             {.kernel = layer.kernel, .stride = stride, .padding = layer.kernel / 2, .groups = wide}, wide, false);
    y = relu6(group_norm(y, layer.name + ".depthwise.norm", wide / layer.group_size));
    y = conv(y, layer.name + ".project.conv", {.kernel = 1}, layer.out, false);
    y = group_norm(y, layer.name + ".project.norm", layer.out / layer.group_size);
    const bool shortcut = shape(x) == shape(y);
    if (layer.lite > 0) y = sum(y, lite_branch(x, layer, shape(y)));
    return shortcut ? sum(y, x) : y;
  }

  Graph take(ValueId output) && {
    graph_.output = output;
    return std::move(graph_);
  }

 private:
  const Shape& shape(ValueId value) const { return graph_.values[value]; }

  // Only the pooled input is large enough to matter in memory (TinyTL, Cai et al. 2020).
  ValueId lite_branch(ValueId x, const Layer& layer, Shape after) {
    const std::size_t first = graph_.parameters.size();
    const std::uint32_t in = shape(x)[0];
    const Op pool{.kind = OpKind::kAveragePool, .inputs = {x}, .kernel = 2, .stride = 2};
    ValueId y = add(pool, {in, slide(shape(x)[1], pool), slide(shape(x)[2], pool)});
    y = conv(y, layer.name + ".lite.conv1",
             {.kernel = layer.lite, .stride = stride_of(layer, 1), .padding = layer.lite / 2, .groups = 2}, in, false);
    y = relu(group_norm(y, layer.name + ".lite.norm1", in / layer.group_size));
    y = conv(y, layer.name + ".lite.conv2", {.kernel = 1}, layer.out, false);
    y = group_norm(y, layer.name + ".lite.norm2", layer.out / layer.group_size);
    // A branch that is not trained yet adds nothing.
    graph_.parameters[*graph_.ops.back().weight].constant = 0;
    for (std::size_t p = first; p < graph_.parameters.size(); ++p) graph_.parameters[p].spec.group = "lite";
    return add({.kind = OpKind::kUpsample, .inputs = {y}}, std::move(after));
  }

  ValueId add(Op op, Shape after) {
    op.output = static_cast<ValueId>(graph_.values.size());
    op.layer = layer_;
    graph_.ops.push_back(std::move(op));
    graph_.values.push_back(std::move(after));
    return graph_.ops.back().output;
  }

  ParameterId parameter(std::string name, std::vector<std::uint64_t> extents, std::string group, std::uint64_t fan_in,
                        float constant) {
    graph_.parameters.push_back({{std::move(name), std::move(extents), std::move(group)}, fan_in, constant});
    return static_cast<ParameterId>(graph_.parameters.size() - 1);
  }

  void dense(Op& op, const std::string& name, std::vector<std::uint64_t> extents, bool bias, bool head) {
    std::uint64_t fan_in = 1;
    for (std::size_t i = 1; i < extents.size(); ++i) fan_in *= extents[i];
    const std::uint64_t out = extents[0];
    op.weight = parameter(name + ".weight", std::move(extents), head ? "head" : "backbone", fan_in, 0);
    if (bias) op.bias = parameter(name + ".bias", {out}, head ? "head" : "bias", fan_in, 0);
  }

  Graph graph_;
  std::uint32_t layer_ = 0;
};

ValueId lower(Builder& builder, const Layer& layer, ValueId x, bool head) {
  switch (layer.kind) {
    case LayerKind::kLinear: return builder.linear(x, layer.name, layer.out, layer.bias, head);
    case LayerKind::kConv2d:
      return builder.conv(
          x, layer.name,
          {.kernel = layer.kernel, .stride = stride_of(layer, 1), .padding = layer.padding, .groups = layer.groups},
          layer.out, layer.bias);
    case LayerKind::kGroupNorm: return builder.group_norm(x, layer.name, layer.groups);
    case LayerKind::kResidual: return builder.residual(x, layer);
    case LayerKind::kMobile: return builder.mobile(x, layer);
    case LayerKind::kRelu: return builder.relu(x);
    case LayerKind::kRelu6: return builder.relu6(x);
    case LayerKind::kMaxPool: return builder.max_pool(x, layer.kernel, stride_of(layer, layer.kernel));
    case LayerKind::kGlobalAverage: return builder.global_average(x);
    case LayerKind::kFlatten: return builder.flatten(x);
  }
  return x;
}

}  // namespace

EnumNames<OpKind> enum_names(OpKind) {
  static constexpr std::array<std::pair<OpKind, std::string_view>, 11> kNames{
      {{OpKind::kLinear, "linear"},
       {OpKind::kConv2d, "conv2d"},
       {OpKind::kGroupNorm, "groupnorm"},
       {OpKind::kRelu, "relu"},
       {OpKind::kRelu6, "relu6"},
       {OpKind::kMaxPool, "maxpool"},
       {OpKind::kAveragePool, "averagepool"},
       {OpKind::kUpsample, "upsample"},
       {OpKind::kGlobalAverage, "globalaverage"},
       {OpKind::kFlatten, "flatten"},
       {OpKind::kAdd, "add"}}};
  return kNames;
}

std::uint64_t Parameter::count() const {
  return std::accumulate(spec.shape.begin(), spec.shape.end(), std::uint64_t{1}, std::multiplies<>());
}

std::size_t Graph::count(ValueId value) const {
  return std::accumulate(shape(value).begin(), shape(value).end(), std::size_t{1}, std::multiplies<>());
}

Result<Graph> graph_of(const ModelDescription& model) {
  SHOAL_TRY(shapes_of(model));
  std::size_t head = model.layers.size();
  for (std::size_t i = 0; i < model.layers.size(); ++i)
    if (model.layers[i].kind == LayerKind::kLinear) head = i;
  Builder builder(model.input);
  ValueId x = 0;
  for (std::size_t i = 0; i < model.layers.size(); ++i) {
    builder.begin_layer(i);
    x = lower(builder, model.layers[i], x, i == head);
  }
  return std::move(builder).take(x);
}

}  // namespace shoal::client::training
