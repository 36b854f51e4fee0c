#include "client/training/model_description.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>

namespace shoal::client::training {
namespace {

constexpr std::size_t kMaxTextBytes = 64 * 1024;
constexpr std::size_t kMaxLayers = 1024;
constexpr std::size_t kMaxNameBytes = 64;
constexpr std::uint32_t kMaxExtent = 1u << 20;

struct Setting {
  std::string_view key;
  std::uint32_t Layer::*member;
};
constexpr std::array<Setting, 14> kSettings{{{"out", &Layer::out},
                                             {"kernel", &Layer::kernel},
                                             {"stride", &Layer::stride},
                                             {"padding", &Layer::padding},
                                             {"groups", &Layer::groups},
                                             {"group_size", &Layer::group_size},
                                             {"expand", &Layer::expand},
                                             {"lite", &Layer::lite},
                                             {"vocabulary", &Layer::vocabulary},
                                             {"heads", &Layer::heads},
                                             {"hidden", &Layer::hidden},
                                             {"causal", &Layer::causal},
                                             {"lora", &Layer::lora},
                                             {"adapter", &Layer::adapter}}};

// The settings that a kind of layer understands, and whether it has parameters (then it has a name).
struct KindRule {
  LayerKind kind;
  bool named;
  std::string_view settings;
};
constexpr std::array<KindRule, 16> kRules{{{LayerKind::kLinear, true, "out bias"},
                                           {LayerKind::kConv2d, true, "out kernel stride padding groups bias"},
                                           {LayerKind::kGroupNorm, true, "groups"},
                                           {LayerKind::kResidual, true, "out stride groups"},
                                           {LayerKind::kMobile, true, "out kernel stride group_size expand lite"},
                                           {LayerKind::kRelu, false, ""},
                                           {LayerKind::kRelu6, false, ""},
                                           {LayerKind::kMaxPool, false, "kernel stride"},
                                           {LayerKind::kGlobalAverage, false, ""},
                                           {LayerKind::kFlatten, false, ""},
                                           {LayerKind::kEmbedding, true, "out vocabulary"},
                                           {LayerKind::kTokens, false, ""},
                                           {LayerKind::kPosition, true, ""},
                                           {LayerKind::kLayerNorm, true, ""},
                                           {LayerKind::kTransformer, true, "heads hidden causal lora adapter"},
                                           {LayerKind::kLastToken, false, ""}}};

const KindRule& rule_of(LayerKind kind) {
  return *std::find_if(kRules.begin(), kRules.end(), [&](const KindRule& r) { return r.kind == kind; });
}

std::vector<std::string_view> split(std::string_view text, std::string_view separators) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const std::size_t end = text.find_first_of(separators);
    if (end != 0) parts.push_back(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
  }
  return parts;
}

bool understands(const KindRule& rule, std::string_view key) {
  const std::vector<std::string_view> known = split(rule.settings, " ");
  return std::find(known.begin(), known.end(), key) != known.end();
}

std::optional<std::uint32_t> parse_extent(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value > kMaxExtent) return std::nullopt;
  return value;
}

bool is_plain_name(std::string_view text) {
  return !text.empty() && text.size() <= kMaxNameBytes &&
         text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
             std::string_view::npos;
}

Error bad_line(std::string_view line, std::string why) {
  return Error(ErrorCode::kInvalid, "model description, line '" + std::string(line.substr(0, 80)) + "': " + why);
}

std::optional<float> parse_number(std::string_view text) {
  float value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

// The shortest text that reads back as the same float.
std::string number_text(float value) {
  std::array<char, 32> text{};
  return {text.data(), std::to_chars(text.data(), text.data() + text.size(), value).ptr};
}

Result<Layer> parse_layer(std::string_view line, const std::vector<std::string_view>& words) {
  Layer layer;
  const std::optional<LayerKind> kind = from_name<LayerKind>(words[0]);
  if (!kind) return bad_line(line, "no layer is called that");
  layer.kind = *kind;
  const KindRule& rule = rule_of(*kind);
  std::size_t next = 1;
  if (rule.named) {
    if (words.size() < 2 || !is_plain_name(words[1]))
      return bad_line(line, "its parameters need a name of letters, digits, '.', '_' and '-'");
    layer.name = words[next++];
  }
  for (; next < words.size(); ++next) {
    const std::size_t equals = words[next].find('=');
    const std::string_view key = words[next].substr(0, equals);
    if (equals == std::string_view::npos || !understands(rule, key))
      return bad_line(line,
                      "'" + std::string(key) + "' is not one of its settings (" + std::string(rule.settings) + ")");
    const std::optional<std::uint32_t> value = parse_extent(words[next].substr(equals + 1));
    if (!value || ((key == "bias" || key == "causal") && *value > 1))
      return bad_line(line, "'" + std::string(key) + "' has an impossible value");
    if (key == "bias") layer.bias = *value == 1;
    for (const Setting& setting : kSettings)
      if (setting.key == key) layer.*setting.member = *value;
  }
  return layer;
}

Status parse_line(std::string_view line, ModelDescription& model) {
  const std::vector<std::string_view> words = split(line, " \t\r");
  if (words[0] == "name") {
    if (words.size() != 2 || !is_plain_name(words[1])) return bad_line(line, "want: name WORD");
    model.name = words[1];
  } else if (words[0] == "input") {
    model.input.clear();
    for (std::size_t i = 1; i < words.size(); ++i) {
      const std::optional<std::uint32_t> extent = parse_extent(words[i]);
      if (!extent) return bad_line(line, "an extent is not a number from 1 to 2^20");
      model.input.push_back(*extent);
    }
  } else if (words[0] == "standardize") {
    if (!model.standardize.empty()) return bad_line(line, "the input is standardized already");
    SHOAL_TRY_ASSIGN(model.standardize, parse_scales(line.substr(words[0].size())));
  } else if (words[0] == "classes") {
    const std::optional<std::uint32_t> classes = words.size() == 2 ? parse_extent(words[1]) : std::nullopt;
    if (!classes) return bad_line(line, "want: classes NUMBER");
    model.classes = *classes;
  } else {
    if (model.layers.size() == kMaxLayers) return bad_line(line, "more than 1024 layers");
    SHOAL_TRY_ASSIGN(Layer layer, parse_layer(line, words));
    model.layers.push_back(std::move(layer));
  }
  return {};
}

}  // namespace

EnumNames<LayerKind> enum_names(LayerKind) {
  static constexpr std::array<std::pair<LayerKind, std::string_view>, 16> kNames{
      {{LayerKind::kLinear, "linear"},
       {LayerKind::kConv2d, "conv2d"},
       {LayerKind::kGroupNorm, "groupnorm"},
       {LayerKind::kResidual, "residual"},
       {LayerKind::kMobile, "mobile"},
       {LayerKind::kRelu, "relu"},
       {LayerKind::kRelu6, "relu6"},
       {LayerKind::kMaxPool, "maxpool"},
       {LayerKind::kGlobalAverage, "globalaverage"},
       {LayerKind::kFlatten, "flatten"},
       {LayerKind::kEmbedding, "embedding"},
       {LayerKind::kTokens, "tokens"},
       {LayerKind::kPosition, "position"},
       {LayerKind::kLayerNorm, "layernorm"},
       {LayerKind::kTransformer, "transformer"},
       {LayerKind::kLastToken, "lasttoken"}}};
  return kNames;
}

Result<std::vector<InputScale>> parse_scales(std::string_view text) {
  const std::vector<std::string_view> words = split(text, " ,\t\r");
  const auto bad = [&](std::string why) {
    return Error(ErrorCode::kInvalid, "standardize '" + std::string(text.substr(0, 80)) + "': " + why);
  };
  if (words.empty() || words.size() % 2 != 0)
    return bad("want a mean and a deviation, or such a pair for every channel, like 0.1307 0.3081");
  std::vector<InputScale> scales;
  for (std::size_t i = 0; i < words.size(); i += 2) {
    const std::optional<float> mean = parse_number(words[i]), deviation = parse_number(words[i + 1]);
    if (!mean || !deviation) return bad("not every word is a finite number");
    scales.push_back({*mean, *deviation});
  }
  return scales;
}

std::string to_text(const ModelDescription& model) {
  std::string text = "shoal-model 1\nname " + model.name + "\ninput";
  for (std::uint32_t extent : model.input) text += " " + std::to_string(extent);
  text += "\nclasses " + std::to_string(model.classes) + "\n";
  if (!model.standardize.empty()) {
    text += "standardize";
    for (const InputScale& scale : model.standardize)
      text += " " + number_text(scale.mean) + " " + number_text(scale.deviation);
    text += "\n";
  }
  for (const Layer& layer : model.layers) {
    text += name_of(layer.kind);
    if (!layer.name.empty()) text += " " + layer.name;
    for (const Setting& setting : kSettings)
      if (layer.*setting.member != 0)
        text += " " + std::string(setting.key) + "=" + std::to_string(layer.*setting.member);
    if (!layer.bias) text += " bias=0";
    text += "\n";
  }
  return text;
}

Result<ModelDescription> parse_description(std::string_view text) {
  if (text.size() > kMaxTextBytes) return Error(ErrorCode::kInvalid, "model description: longer than 64 KiB");
  ModelDescription model;
  bool versioned = false;
  for (std::string_view line : split(text, "\n;")) {
    line.remove_prefix(std::min(line.find_first_not_of(" \t\r"), line.size()));
    if (line.empty() || line[0] == '#') continue;
    if (!versioned) {
      if (split(line, " \t\r") != std::vector<std::string_view>{"shoal-model", "1"})
        return bad_line(line, "want 'shoal-model 1'; another version needs another Shoal");
      versioned = true;
      continue;
    }
    SHOAL_TRY(parse_line(line, model));
  }
  if (!versioned) return Error(ErrorCode::kInvalid, "model description: it is empty");
  if (model.name.empty()) return Error(ErrorCode::kInvalid, "model description: it has no 'name' line");
  auto shapes = shapes_of(model);
  if (!shapes.ok()) return std::move(shapes).error();
  return model;
}

}  // namespace shoal::client::training
