// The models that Shoal knows by name, adapted to an input shape and class count.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>

#include "client/training/model_description.h"

namespace shoal::client::training {
namespace {

Layer linear(std::string name, std::uint32_t out) {
  return {.kind = LayerKind::kLinear, .name = std::move(name), .out = out};
}
Layer conv5(std::string name, std::uint32_t out) {
  return {.kind = LayerKind::kConv2d, .name = std::move(name), .out = out, .kernel = 5, .padding = 2};
}
constexpr auto plain = [](LayerKind kind) { return Layer{.kind = kind}; };

std::vector<Layer> cnn_layers(std::uint32_t classes) {
  const Layer pool{.kind = LayerKind::kMaxPool, .kernel = 2};
  return {conv5("conv1", 32),         plain(LayerKind::kRelu), pool,
          conv5("conv2", 64),         plain(LayerKind::kRelu), pool,
          plain(LayerKind::kFlatten), linear("fc1", 512),      plain(LayerKind::kRelu),
          linear("fc2", classes)};
}

std::vector<Layer> resnet_layers(std::uint32_t blocks_per_stage, std::uint32_t classes) {
  constexpr std::uint32_t kGroups = 8;
  std::vector<Layer> layers{
      {.kind = LayerKind::kConv2d, .name = "conv1", .out = 16, .kernel = 3, .padding = 1, .bias = false},
      {.kind = LayerKind::kGroupNorm, .name = "norm1", .groups = kGroups},
      plain(LayerKind::kRelu)};
  for (std::uint32_t stage = 0; stage < 3; ++stage)
    for (std::uint32_t block = 0; block < blocks_per_stage; ++block)
      layers.push_back({.kind = LayerKind::kResidual,
                        .name = "layer" + std::to_string(stage + 1) + "." + std::to_string(block),
                        .out = 16u << stage,
                        .stride = stage > 0 && block == 0 ? 2u : 1u,
                        .groups = kGroups});
  layers.push_back(plain(LayerKind::kGlobalAverage));
  layers.push_back(linear("fc", classes));
  return layers;
}

// ---- mobile networks ----

constexpr std::uint32_t kGroupSize = 8;  // channels in a group of the norms, as TinyTL has them

struct MobileStage {
  std::uint32_t out, kernel, stride, expand, blocks;
};

// Chosen at a resolution of 128 behind the stem (as TinyTL does it), whatever the input: half the resolution that
// enters the block bounds the kernel.
class LiteKernels {
 public:
  std::uint32_t next(std::uint32_t stride) {
    const std::uint32_t half = resolution_ / 2;
    resolution_ /= stride;
    const std::uint32_t most = std::min(5u, half);
    return most % 2 == 0 ? most - 1 : most;
  }

 private:
  std::uint32_t resolution_ = 128;
};

void add_norm_relu6(std::vector<Layer>& layers, std::string name, std::uint32_t channels) {
  layers.push_back({.kind = LayerKind::kGroupNorm, .name = std::move(name), .groups = channels / kGroupSize});
  layers.push_back(plain(LayerKind::kRelu6));
}

// Stem, blocks, last convolution and classifier. The first block has no lite residual branch.
std::vector<Layer> mobile_layers(std::uint32_t stem, std::uint32_t stem_stride, std::span<const MobileStage> stages,
                                 std::uint32_t last, bool lite, std::uint32_t classes) {
  std::vector<Layer> layers{{.kind = LayerKind::kConv2d,
                             .name = "stem.conv",
                             .out = stem,
                             .kernel = 3,
                             .stride = stem_stride,
                             .padding = 1,
                             .bias = false}};
  add_norm_relu6(layers, "stem.norm", stem);
  LiteKernels kernels;
  std::uint32_t index = 0;
  for (const MobileStage& stage : stages)
    for (std::uint32_t block = 0; block < stage.blocks; ++block, ++index) {
      const std::uint32_t stride = block == 0 ? stage.stride : 1;
      Layer layer{.kind = LayerKind::kMobile,
                  .name = "blocks." + std::to_string(index),
                  .out = stage.out,
                  .kernel = stage.kernel,
                  .stride = stride,
                  .group_size = kGroupSize,
                  .expand = stage.expand};
      if (lite && index > 0) layer.lite = kernels.next(stride);
      layers.push_back(std::move(layer));
    }
  layers.push_back({.kind = LayerKind::kConv2d, .name = "last.conv", .out = last, .kernel = 1, .bias = false});
  add_norm_relu6(layers, "last.norm", last);
  layers.push_back(plain(LayerKind::kGlobalAverage));
  layers.push_back(linear("classifier", classes));
  return layers;
}

std::vector<Layer> proxyless_layers(bool small_images, bool lite, std::uint32_t classes) {
  // Blocks of one stage differ in kernel and expansion, hence one line each where they do.
  std::array<MobileStage, 14> stages{{{16, 3, 1, 1, 1},
                                      {32, 5, 2, 3, 1},
                                      {32, 3, 1, 3, 1},
                                      {40, 7, 2, 3, 1},
                                      {40, 3, 1, 3, 1},
                                      {40, 5, 1, 3, 2},
                                      {80, 7, 2, 6, 1},
                                      {80, 5, 1, 3, 3},
                                      {96, 5, 1, 6, 1},
                                      {96, 5, 1, 3, 3},
                                      {192, 7, 2, 6, 1},
                                      {192, 7, 1, 6, 1},
                                      {192, 7, 1, 3, 2},
                                      {320, 7, 1, 6, 1}}};
  if (small_images) stages[1].stride = 1;
  return mobile_layers(32, small_images ? 1 : 2, stages, 1280, lite, classes);
}

std::vector<Layer> mobilenet_layers(double width, bool small_images, bool lite, std::uint32_t classes) {
  // A multiple of 8 that is not more than a tenth below what is wanted, as in the reference code.
  const auto channels = [&](double wanted) {
    const auto rounded = std::max(8u, static_cast<std::uint32_t>(wanted * width + 4) / 8 * 8);
    return rounded < 0.9 * wanted * width ? rounded + 8 : rounded;
  };
  std::array<MobileStage, 7> stages{{{16, 3, 1, 1, 1},
                                     {24, 3, 2, 6, 2},
                                     {32, 3, 2, 6, 3},
                                     {64, 3, 2, 6, 4},
                                     {96, 3, 1, 6, 3},
                                     {160, 3, 2, 6, 3},
                                     {320, 3, 1, 6, 1}}};
  for (MobileStage& stage : stages) stage.out = channels(stage.out);
  if (small_images) stages[1].stride = 1;
  return mobile_layers(channels(32), small_images ? 1 : 2, stages, width > 1 ? channels(1280) : 1280, lite, classes);
}

// "mobilenetv2", "mobilenetv2-0.35"; nullopt for anything else.
std::optional<double> mobilenet_width(std::string_view name) {
  constexpr std::string_view kName = "mobilenetv2";
  if (!name.starts_with(kName)) return std::nullopt;
  name.remove_prefix(kName.size());
  if (name.empty()) return 1.0;
  if (name[0] != '-') return std::nullopt;
  double width = 0;
  const auto [end, error] = std::from_chars(name.data() + 1, name.data() + name.size(), width);
  if (error != std::errc{} || end != name.data() + name.size() || !(width >= 0.1 && width <= 4)) return std::nullopt;
  return width;
}

std::string_view without_lite(std::string_view name) {
  return name.ends_with("-lite") ? name.substr(0, name.size() - 5) : name;
}

// ---- transformers ----

// "vit-micro-lora8-adapter16" is "vit-micro" with a low-rank branch of rank 8 and adapters of 16 features in each
// block.
struct Branches {
  std::uint32_t lora = 0, adapter = 0;
};

// Takes the endings off `name`; false when one is there twice or has no number from 1 on.
bool take_branches(std::string_view& name, Branches& branches) {
  for (;;) {
    const std::size_t dash = name.rfind('-');
    if (dash == std::string_view::npos) return true;
    std::string_view ending = name.substr(dash + 1);
    const bool lora = ending.starts_with("lora");
    if (!lora && !ending.starts_with("adapter")) return true;
    ending.remove_prefix(std::string_view(lora ? "lora" : "adapter").size());
    std::uint32_t& size = lora ? branches.lora : branches.adapter;
    std::uint32_t given = 0;
    const auto [end, error] = std::from_chars(ending.data(), ending.data() + ending.size(), given);
    if (error != std::errc{} || end != ending.data() + ending.size() || given == 0 || size != 0) return false;
    size = given;
    name = name.substr(0, dash);
  }
}

struct Tower {
  std::uint32_t blocks, features, heads;
  bool causal;
};

void add_blocks(std::vector<Layer>& layers, const Tower& tower, const Branches& branches) {
  layers.push_back({.kind = LayerKind::kPosition, .name = "position"});
  for (std::uint32_t block = 0; block < tower.blocks; ++block)
    layers.push_back({.kind = LayerKind::kTransformer,
                      .name = "blocks." + std::to_string(block),
                      .heads = tower.heads,
                      .hidden = 4 * tower.features,
                      .causal = tower.causal ? 1u : 0u,
                      .lora = branches.lora,
                      .adapter = branches.adapter});
  layers.push_back({.kind = LayerKind::kLayerNorm, .name = "norm"});
}

std::vector<Layer> vision_transformer_layers(const Tower& tower, std::uint32_t patch, const Branches& branches,
                                             std::uint32_t classes) {
  std::vector<Layer> layers{
      {.kind = LayerKind::kConv2d, .name = "patches", .out = tower.features, .kernel = patch, .stride = patch},
      plain(LayerKind::kTokens)};
  add_blocks(layers, tower, branches);
  layers.push_back(plain(LayerKind::kGlobalAverage));
  layers.push_back(linear("head", classes));
  return layers;
}

std::vector<Layer> character_layers(const Tower& tower, const Branches& branches, std::uint32_t classes) {
  std::vector<Layer> layers{
      {.kind = LayerKind::kEmbedding, .name = "embedding", .out = tower.features, .vocabulary = classes}};
  add_blocks(layers, tower, branches);
  layers.push_back(plain(LayerKind::kLastToken));
  layers.push_back(linear("head", classes));
  return layers;
}

// Nothing for a name that is no transformer's.
std::vector<Layer> transformer_layers(std::string_view name, bool small_images, std::uint32_t classes) {
  Branches branches;
  if (!take_branches(name, branches)) return {};
  const std::uint32_t patch = small_images ? 4 : 16;
  if (name == "vit-micro") return vision_transformer_layers({6, 64, 4, false}, patch, branches, classes);
  if (name == "vit-tiny") return vision_transformer_layers({12, 192, 3, false}, patch, branches, classes);
  if (name == "char-transformer") return character_layers({2, 128, 4, true}, branches, classes);
  return {};
}

constexpr std::array<std::string_view, 14> kCatalogue{"logistic",
                                                      "2nn",
                                                      "cnn",
                                                      "resnet8-gn",
                                                      "resnet20-gn",
                                                      "mobilenetv2",
                                                      "mobilenetv2-0.35-lite",
                                                      "proxyless-mobile",
                                                      "proxyless-mobile-lite",
                                                      "vit-micro",
                                                      "vit-micro-adapter16",
                                                      "vit-tiny",
                                                      "char-transformer",
                                                      "char-transformer-lora8"};

}  // namespace

std::span<const std::string_view> catalogue_names() { return kCatalogue; }

Result<ModelDescription> make_description(std::string_view name, const Shape& input, std::uint32_t classes,
                                          std::string_view standardize) {
  ModelDescription model{.name = std::string(name), .input = input, .classes = classes, .layers = {}};
  if (!standardize.empty()) {
    SHOAL_TRY_ASSIGN(model.standardize, parse_scales(standardize));
  }
  const bool small_images = input.size() == 3 && std::max(input[1], input[2]) < 64;
  if (name == "logistic") {
    model.layers = {plain(LayerKind::kFlatten), linear("fc", classes)};
  } else if (name == "2nn") {
    model.layers = {plain(LayerKind::kFlatten), linear("fc1", 200),      plain(LayerKind::kRelu),
                    linear("fc2", 200),         plain(LayerKind::kRelu), linear("fc3", classes)};
  } else if (name == "cnn") {
    model.layers = cnn_layers(classes);
  } else if (name == "resnet8-gn") {
    model.layers = resnet_layers(1, classes);
  } else if (name == "resnet20-gn") {
    model.layers = resnet_layers(3, classes);
  } else if (name == "proxyless-mobile" || name == "proxyless-mobile-lite") {
    model.layers = proxyless_layers(small_images, name.ends_with("-lite"), classes);
  } else if (const auto width = mobilenet_width(without_lite(name)); width) {
    model.layers = mobilenet_layers(*width, small_images, name.ends_with("-lite"), classes);
  } else if (auto layers = transformer_layers(name, small_images, classes); !layers.empty()) {
    model.layers = std::move(layers);
  } else {
    std::string known;
    for (std::string_view each : kCatalogue) known += (known.empty() ? "" : ", ") + std::string(each);
    return Error(ErrorCode::kNotFound, "no model is called '" + std::string(name) + "'; there are " + known);
  }
  auto shapes = shapes_of(model);
  if (!shapes.ok()) return std::move(shapes).error();
  return model;
}

}  // namespace shoal::client::training
