// What a model is made of, as text that travels inside the model file: another input shape or class count needs no
// code.
//
//   shoal-model 1                             the format's version
//   name cnn
//   input 1 28 28                             of one example, channels first; or one number for flat features
//   classes 10
//   standardize 0.1307 0.3081                 optional: mean and deviation of the pixels, of all channels or one pair a
//   channel conv2d conv1 out=32 kernel=5 padding=2    kind, parameter prefix as in a PyTorch state_dict, settings relu
//   maxpool kernel=2
//   ...
//   linear fc2 out=10
//
// Lines end in '\n' or ';'; one that begins with '#' is a remark. Settings left out have the defaults of Layer. In a
// safetensors file the text is the metadata value named kModelMetadataKey.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/options.h"
#include "base/result.h"
#include "base/tensor_layout.h"

namespace shoal::client::training {

inline constexpr std::string_view kModelMetadataKey = "shoal.model";

// Extents of one example on its way through the model, without the batch: {channels, height, width} of an image,
// {tokens, features} of a sequence, or {features}. Whatever works on the features of each token by itself - linear
// layers, layer norms - works on the last extent of a sequence as it does on flat features. The tokens of a sequence
// lie one after the other, features innermost, in every trainer.
using Shape = std::vector<std::uint32_t>;

enum class LayerKind : std::uint8_t {
  kLinear,     // weight [out, in], bias [out]; takes flat features, or those of every token
  kConv2d,     // weight [out, in, kernel, kernel], bias [out]; square kernel, zero padding
  kGroupNorm,  // weight [channels], bias [channels] (Wu and He 2018)
  kResidual,   // basic block (He et al. 2016): conv3x3, norm, relu, conv3x3, norm, added to the input, relu. Where the
               // shape changes the input goes through a 1x1 convolution and norm ("downsample"). Convolutions have no
               // bias.
  kMobile,     // inverted bottleneck (Sandler et al. 2018): 1x1 convolution to `expand` times the channels, depthwise
               // convolution, 1x1 convolution to `out`, each with a group norm, the first two with ReLU6; the input is
               // added where the shape stays. With `lite` a lite residual branch of that kernel (Cai et al. 2020) is
               // added: average pool 2x2, convolution in 2 groups, norm, ReLU, 1x1 convolution, norm, bilinear
               // up-sampling. Convolutions have no bias.
  kRelu,
  kRelu6,          // min(max(x, 0), 6)
  kMaxPool,        // square window, stride = kernel unless set
  kGlobalAverage,  // {c, h, w} to {c}, or {tokens, features} to {features}
  kFlatten,        // {c, h, w} to {c * h * w}, row-major; likewise a sequence
  kEmbedding,      // weight [vocabulary, out]; the first layer, where the example's values are token ids, whole numbers
                   // from 0 to below `vocabulary`: {tokens} to {tokens, out}
  kTokens,         // {c, h, w} to {h * w, c}: each pixel a token. After a convolution whose stride is its kernel, each
                   // patch of the image
  kPosition,       // weight [tokens, features], added to the sequence
  kLayerNorm,      // weight [features], bias [features]; of every token by itself (Ba et al. 2016)
  kTransformer,    // pre-norm block (Vaswani et al. 2017, Xiong et al. 2020), its parameters as those of PyTorch's
                   // TransformerEncoderLayer with norm_first: norm, self-attention of `heads` heads, added to the
                   // input; norm, linear layer to `hidden` features, GELU, linear layer back, added. With `causal` a
                   // token sees only itself and those before it. With `lora` each of the four linear layers has a
                   // branch of that rank added, lora_A then lora_B (Hu et al. 2022, alpha equal to the rank). With
                   // `adapter` what each half adds passes an adapter of that many features first (Houlsby et al. 2019,
                   // with GELU). Neither changes anything before it is trained.
  kLastToken,      // {tokens, features} to {features}
};
EnumNames<LayerKind> enum_names(LayerKind);

struct Layer {
  LayerKind kind = LayerKind::kRelu;
  std::string name = {};         // prefix of its parameters: "fc1", "layer1.0"; empty for layers without parameters
  std::uint32_t out = 0;         // features or channels delivered
  std::uint32_t kernel = 0;      // window edge
  std::uint32_t stride = 0;      // 0: 1 for convolutions and residual blocks, the kernel for pooling
  std::uint32_t padding = 0;     // zeros on every edge of a convolution's input
  std::uint32_t groups = 0;      // of the group norms, or of a convolution (0: 1)
  std::uint32_t group_size = 0;  // channels in a group of the norms of a mobile block
  std::uint32_t expand = 0;      // of a mobile block; 0 and 1: no expansion
  std::uint32_t lite = 0;        // kernel of a mobile block's lite residual branch; 0: none
  std::uint32_t vocabulary = 0;  // token ids that an embedding knows
  std::uint32_t heads = 0;       // of a transformer block's attention; they share the features out
  std::uint32_t hidden = 0;      // features between the two linear layers of a transformer block
  std::uint32_t causal = 0;      // 1: no token of a transformer block sees a later one
  std::uint32_t lora = 0;        // rank of a transformer block's low-rank branches; 0: none
  std::uint32_t adapter = 0;     // features of a transformer block's adapters; 0: none
  bool bias = true;              // linear and conv2d

  friend bool operator==(const Layer&, const Layer&) = default;
};

// What a value of the input is brought to zero mean and unit deviation with: (value - mean) / deviation.
struct InputScale {
  float mean = 0;
  float deviation = 1;

  friend bool operator==(const InputScale&, const InputScale&) = default;
};

struct ModelDescription {
  std::string name;  // of the catalogue entry, or the author's own
  Shape input;
  std::uint32_t classes = 0;                 // the last layer delivers this many logits
  std::vector<InputScale> standardize = {};  // one for all values, or one a channel (of flat input: a feature); empty:
                                             // as the data are. No parameters: training does not change it
  std::vector<Layer> layers;

  friend bool operator==(const ModelDescription&, const ModelDescription&) = default;
};

// The catalogue, adapted to an input shape and class count:
//   logistic     one linear layer
//   2nn          two hidden layers of 200, ReLU (McMahan et al. 2017)
//   cnn          5x5 convolutions with 32 and 64 channels, each pooled 2x2, then 512 units (McMahan et al. 2017)
//   resnet8-gn, resnet20-gn   residual networks for small images (He et al. 2016) with GroupNorm in place of BatchNorm
//   mobilenetv2[-WIDTH][-lite]   MobileNetV2 (Sandler et al. 2018) with GroupNorm, as mobilenetv2-0.35. -lite: with
//                lite residual branches (Cai et al. 2020). On images of less than 64 pixels the first two strides are 1
//   proxyless-mobile[-lite]      ProxylessNAS-Mobile (Cai et al. 2019), likewise
//   vit-micro    vision transformer of 6 blocks of 64 features, on patches of 4 x 4 pixels; 16 x 16 from 64 pixels on
//   vit-tiny     12 blocks of 192 features (Touvron et al. 2021) with the mean of all tokens in place of a class token
//   char-transformer   the next character of a text, after a window of as many as the input is long: 2 causal blocks of
//                128 features; the classes are the vocabulary
// The last three may end in -loraRANK and in -adapterFEATURES, as char-transformer-lora8: with low-rank branches, with
// adapters.
// `standardize` is what the text's line of that name says: means and deviations in turn, between blanks or commas.
// kNotFound lists the names; kInvalid says which layer does not fit the shape, or what is wrong with `standardize`.
Result<ModelDescription> make_description(std::string_view name, const Shape& input, std::uint32_t classes,
                                          std::string_view standardize = {});
std::span<const std::string_view> catalogue_names();

// Text round trip: parse_description(to_text(d)) == d. kInvalid names the line.
std::string to_text(const ModelDescription& model);
Result<ModelDescription> parse_description(std::string_view text);

// "MEAN DEVIATION", or such a pair for every channel. kInvalid says what is wrong.
Result<std::vector<InputScale>> parse_scales(std::string_view text);

// Applies `model.standardize` to one example of shape model.input, in place.
void standardize(const ModelDescription& model, std::span<float> example);

// The shape that enters each layer, and last the one that leaves the model (classes logits). kInvalid names the layer
// that does not fit: these are the only checks of a description, and everything else may rely on them.
Result<std::vector<Shape>> shapes_of(const ModelDescription& model);

// Names and shapes of a PyTorch state_dict, in layer order. Groups: the last linear layer is `head`, lite residual
// branches are `lite`, low-rank branches `lora`, adapters `adapter`, other norms `norm`, other biases `bias`,
// everything else `backbone`.
Result<TensorLayout> layout_of(const ModelDescription& model);

// A fresh model, as PyTorch's default initialisers draw it (uniform within 1/sqrt(fan_in); norms 1 and 0; embeddings
// and positions uniform within 1/sqrt(features); the last layer of whatever branch starts without effect 0), tensor by
// tensor from Stream(seed, tensor name). `parameters` is layout_of(model).total() long. The same bits on every machine.
Status initialise(const ModelDescription& model, std::uint64_t seed, std::span<float> parameters);

}  // namespace shoal::client::training
