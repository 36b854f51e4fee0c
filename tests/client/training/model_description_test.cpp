#include "client/training/model_description.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/client/training/trainer_bench.h"

namespace shoal::client::training {
namespace {

const Shape kImage{1, 28, 28};

std::uint64_t parameters(std::string_view name, const Shape& input, std::uint32_t classes) {
  return layout_of(make_description(name, input, classes).value()).value().total();
}

TEST(Catalogue, has_the_published_sizes) {
  EXPECT_EQ(parameters("logistic", kImage, 10), 7850u);
  EXPECT_EQ(parameters("2nn", kImage, 10), 199210u);               // McMahan et al. 2017
  EXPECT_EQ(parameters("cnn", kImage, 10), 1663370u);              // McMahan et al. 2017
  EXPECT_EQ(parameters("resnet20-gn", {3, 32, 32}, 10), 272474u);  // 0.27 M (He et al. 2016), with 1x1 shortcuts
  EXPECT_EQ(parameters("resnet8-gn", {3, 32, 32}, 10), 78042u);
  EXPECT_EQ(parameters("mobilenetv2", {3, 224, 224}, 1000), 3504872u);  // Sandler et al. 2018, as torchvision has it
  EXPECT_EQ(parameters("proxyless-mobile", {3, 224, 224}, 1000), 4080512u);
  EXPECT_EQ(parameters("proxyless-mobile-lite", {3, 224, 224}, 102), 4746590u);  // TinyTL, Cai et al. 2020
}

TEST(Catalogue, has_transformers_of_the_published_size) {
  // Touvron et al. 2021: 5,717,416 with a class token and its position.
  EXPECT_EQ(parameters("vit-tiny", {3, 224, 224}, 1000), 5717416u - 2 * 192);
  EXPECT_EQ(parameters("vit-micro", {1, 28, 28}, 10), 304906u);
  EXPECT_EQ(parameters("char-transformer", {80}, 97), 431969u);
}

TEST(Catalogue, cuts_larger_images_into_larger_patches) {
  const auto tokens = [](const Shape& input) {
    return shapes_of(make_description("vit-micro", input, 10).value()).value()[2];
  };
  EXPECT_EQ(tokens({1, 28, 28}), (Shape{49, 64}));
  EXPECT_EQ(tokens({3, 32, 32}), (Shape{64, 64}));
  EXPECT_EQ(tokens({3, 224, 224}), (Shape{196, 64}));
}

TEST(Catalogue, adds_branches_and_adapters_by_a_names_ending) {
  const auto text = [](const char* name) { return make_description(name, {80}, 97); };
  const ModelDescription both = text("char-transformer-lora4-adapter16").value();
  EXPECT_EQ(both.layers[2].lora, 4u);
  EXPECT_EQ(both.layers[2].adapter, 16u);
  EXPECT_EQ(both.layers, text("char-transformer-adapter16-lora4").value().layers);
  EXPECT_EQ(parameters("char-transformer-lora8", {80}, 97) - parameters("char-transformer", {80}, 97),
            2u * 8 * (128 + 384 + 128 + 128 + 128 + 512 + 512 + 128));
  for (const char* name : {"char-transformer-lora", "char-transformer-lora0", "char-transformer-lora8-lora8",
                           "char-transformer-adapterx", "cnn-lora8", "char-transformer-", "-lora8", "vit-lora8"})
    EXPECT_EQ(text(name).error().code(), ErrorCode::kNotFound) << name;
  EXPECT_EQ(text("vit-micro").error().code(), ErrorCode::kInvalid);
  EXPECT_EQ(make_description("char-transformer", kImage, 97).error().code(), ErrorCode::kInvalid);
  EXPECT_EQ(make_description("char-transformer", {80}, 97, "0 1").error().code(), ErrorCode::kInvalid);
}

TEST(Description, refuses_sequences_that_do_not_fit) {
  const auto model = [](const std::string& layers, const std::string& input = "6") {
    return parse_description("shoal-model 1\nname m\ninput " + input + "\nclasses 2\n" + layers);
  };
  const std::string begin = "embedding e out=8 vocabulary=5\n", end = "\nlasttoken\nlinear f out=2\n";
  EXPECT_TRUE(model(begin + "position p\ntransformer b heads=2 hidden=4" + end).ok());
  EXPECT_TRUE(model(begin + "linear l out=3\nflatten\nlinear f out=2\n").ok());
  for (const char* block :
       {"transformer b heads=3 hidden=4", "transformer b heads=2", "transformer b hidden=4",
        "transformer b heads=2 hidden=4 causal=2", "transformer b heads=2 hidden=4 out=8", "transformer heads=2",
        "flatten\nposition p", "tokens", "embedding e2 out=8 vocabulary=5", "groupnorm g groups=2", "maxpool kernel=2"})
    EXPECT_FALSE(model(begin + block + end).ok()) << block;
  EXPECT_FALSE(model("embedding e out=8" + end).ok());
  EXPECT_FALSE(model("linear l out=6\nembedding e out=8 vocabulary=5" + end).ok()) << "ids must come as they are";
  EXPECT_FALSE(model(begin + "lasttoken\nlasttoken\nlinear f out=2\n").ok());
  EXPECT_FALSE(model("layernorm n\nflatten\nlinear f out=2\n", "2 3 4").ok());
  EXPECT_FALSE(model("position p\nflatten\nlinear f out=2\n", "2 3 4").ok());
}

TEST(Catalogue, widens_and_narrows_mobilenets) {
  EXPECT_LT(parameters("mobilenetv2-0.35", {3, 224, 224}, 1000), 1'700'000u);
  EXPECT_GT(parameters("mobilenetv2-1.4", {3, 224, 224}, 1000), 6'000'000u);
  EXPECT_EQ(parameters("mobilenetv2-1.0", {3, 96, 96}, 10), parameters("mobilenetv2", {3, 32, 32}, 10));
  for (const char* name : {"mobilenetv2-", "mobilenetv2-0", "mobilenetv2-x", "mobilenetv2-1.4-light", "mobilenetv3"})
    EXPECT_EQ(make_description(name, {3, 32, 32}, 10).error().code(), ErrorCode::kNotFound) << name;
}

TEST(Description, refuses_mobile_blocks_that_do_not_fit) {
  const auto block = [](const std::string& settings, const std::string& input = "8 8 8") {
    return parse_description("shoal-model 1\nname m\ninput " + input + "\nclasses 2\nmobile b " + settings +
                             "\nglobalaverage\nlinear f out=2\n");
  };
  EXPECT_TRUE(block("out=8 kernel=3 group_size=8 expand=2 lite=3").ok());
  for (const char* settings :
       {"out=8 kernel=3", "out=8 kernel=2 group_size=8", "out=12 kernel=3 group_size=8", "kernel=3 group_size=8",
        "out=8 kernel=3 group_size=8 lite=2", "out=8 kernel=3 group_size=3",
        "out=8 kernel=3 group_size=8 expand=1048576", "out=8 kernel=3 group_size=8 groups=2"}) {
    const auto refused = block(settings);
    ASSERT_FALSE(refused.ok()) << settings;
    EXPECT_EQ(refused.error().code(), ErrorCode::kInvalid);
  }
  EXPECT_FALSE(block("out=8 kernel=3 group_size=8 lite=3", "8 1 1").ok());
  EXPECT_FALSE(block("out=8 kernel=3 group_size=8", "8").ok());
}

TEST(Catalogue, adapts_to_other_shapes_and_classes) {
  EXPECT_EQ(parameters("2nn", {4}, 3), 4 * 200 + 200 + 200 * 200 + 200 + 200 * 3 + 3u);
  EXPECT_EQ(parameters("cnn", {3, 32, 32}, 62), 32 * 75 + 32 + 64 * 800 + 64 + 4096 * 512 + 512 + 512 * 62 + 62u);
}

TEST(Catalogue, survives_its_text) {
  for (std::string_view name : catalogue_names()) {
    const ModelDescription model = make_description(name, testing::input_of(name, {3, 32, 32}), 7).value();
    EXPECT_EQ(parse_description(to_text(model)).value(), model) << to_text(model);
  }
}

TEST(Catalogue, names_what_there_is) {
  const auto missing = make_description("vgg", kImage, 10);
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code(), ErrorCode::kNotFound);
  EXPECT_NE(missing.error().message().find("resnet8-gn"), std::string::npos);
  EXPECT_FALSE(make_description("cnn", {784}, 10).ok());
  EXPECT_FALSE(make_description("cnn", {1, 3, 3}, 10).ok());
  EXPECT_FALSE(make_description("2nn", kImage, 1).ok());
  EXPECT_FALSE(make_description("2nn", {}, 10).ok());
}

TEST(Layout, has_the_names_shapes_and_groups_of_a_state_dict) {
  const TensorLayout cnn = layout_of(make_description("cnn", kImage, 10).value()).value();
  const std::vector<TensorSpec> want{{"conv1.weight", {32, 1, 5, 5}, "backbone"},
                                     {"conv1.bias", {32}, "bias"},
                                     {"conv2.weight", {64, 32, 5, 5}, "backbone"},
                                     {"conv2.bias", {64}, "bias"},
                                     {"fc1.weight", {512, 3136}, "backbone"},
                                     {"fc1.bias", {512}, "bias"},
                                     {"fc2.weight", {10, 512}, "head"},
                                     {"fc2.bias", {10}, "head"}};
  EXPECT_TRUE(std::ranges::equal(cnn.tensors(), want));

  const TensorLayout resnet = layout_of(make_description("resnet8-gn", {3, 32, 32}, 10).value()).value();
  const auto find = [&](std::string_view name) {
    return *std::ranges::find(resnet.tensors(), name, &TensorSpec::name);
  };
  EXPECT_EQ(find("layer1.0.conv1.weight"), (TensorSpec{"layer1.0.conv1.weight", {16, 16, 3, 3}, "backbone"}));
  EXPECT_EQ(find("layer2.0.downsample.0.weight"),
            (TensorSpec{"layer2.0.downsample.0.weight", {32, 16, 1, 1}, "backbone"}));
  EXPECT_EQ(find("layer3.0.norm2.bias"), (TensorSpec{"layer3.0.norm2.bias", {64}, "norm"}));
}

TEST(Description, of_ones_own_needs_no_code) {
  const ModelDescription model = parse_description(
                                     "shoal-model 1; name sensor; input 2 9 5; classes 3\n"
                                     "conv2d a out=4 kernel=3 stride=2 bias=0; relu\n# a remark\n"
                                     "maxpool kernel=2 stride=1; flatten; linear head out=3")
                                     .value();
  EXPECT_EQ(shapes_of(model).value(), (std::vector<Shape>{{2, 9, 5}, {4, 4, 2}, {4, 4, 2}, {4, 3, 1}, {12}, {3}}));
  EXPECT_EQ(layout_of(model).value().total(), 4 * 2 * 9 + 12 * 3 + 3u);
}

TEST(Description, standardizes_its_input) {
  const std::string text =
      "shoal-model 1\nname m\ninput 2 1 2\nclasses 2\nstandardize 0.1307 0.3081 -2 0.5\n"
      "flatten\nlinear a out=2\n";
  const ModelDescription model = parse_description(text).value();
  EXPECT_EQ(model.standardize, (std::vector<InputScale>{{0.1307f, 0.3081f}, {-2, 0.5f}}));
  EXPECT_EQ(to_text(model), text);

  std::vector<float> example{0.1307f, 0.4388f, -2, -1};
  standardize(model, example);
  EXPECT_EQ(example, (std::vector<float>{0, (0.4388f - 0.1307f) / 0.3081f, 0, 2}));

  ModelDescription one = make_description("2nn", {2, 1, 2}, 2, "1,4").value();
  example = {1, 5, -3, 9};
  standardize(one, example);
  EXPECT_EQ(example, (std::vector<float>{0, 1, -1, 2}));
  EXPECT_EQ(parse_description(to_text(one)).value(), one);
  one.standardize.clear();
  standardize(one, example);
  EXPECT_EQ(example, (std::vector<float>{0, 1, -1, 2}));
}

TEST(Description, reads_every_scale_back_to_the_last_bit) {
  ModelDescription model = make_description("logistic", {3}, 2, "0 1").value();
  model.standardize = {{1.0f / 3, std::nextafter(1.0f, 2.0f)}, {-0.0f, 1e-6f}, {-1e6f, 123456.789f}};
  EXPECT_EQ(parse_description(to_text(model)).value().standardize, model.standardize);
}

struct BadText {
  const char* text;
  const char* says;
};

TEST(Description, refuses_nonsense_and_says_where) {
  const std::string head = "shoal-model 1;name m;input 1 8 8;classes 2;";
  const std::vector<BadText> cases{
      {"", "empty"},
      {"shoal-model 2", "another version"},
      {"shoal-model 1;input 4;classes 2;linear a out=2", "'name'"},
      {"shoal-model 1;name m;input 4 4;classes 2;linear a out=2", "channels height width"},
      {"shoal-model 1;name m;input 0;classes 2;linear a out=2", "extent of 0"},
      {"shoal-model 1;name m;input 4;classes 2;linear a out=3", "3 values"},
      {"shoal-model 1;name m;input 4;classes 2;linear a out=99999999", "impossible value"},
      {"shoal-model 1;name m;input 4;classes 2;linear a out=-2", "impossible value"},
      {"shoal-model 1;name m;input 4;classes 2;linear a kernel=2", "not one of its settings"},
      {"shoal-model 1;name m;input 4;classes 2;linear out=2", "need a name"},
      {"shoal-model 1;name m;input 4;classes 2;lstm a out=2", "no layer"},
      {"shoal-model 1;name m;input 4;classes 2;linear", "need a name"},
      {"shoal-model 1;name m;input 4;classes 4;relu", "no layer has parameters"},
      {"shoal-model 1;name m;input 4;classes 2;standardize;linear a out=2", "want a mean"},
      {"shoal-model 1;name m;input 4;classes 2;standardize 0.5;linear a out=2", "want a mean"},
      {"shoal-model 1;name m;input 4;classes 2;standardize 0 1 0 1;linear a out=2", "2 pairs"},
      {"shoal-model 1;name m;input 4;classes 2;standardize 0 one;linear a out=2", "finite number"},
      {"shoal-model 1;name m;input 4;classes 2;standardize nan 1;linear a out=2", "finite number"},
      {"shoal-model 1;name m;input 4;classes 2;standardize 0 inf;linear a out=2", "finite number"},
      {"shoal-model 1;name m;input 4;classes 2;standardize 0 1e99;linear a out=2", "finite number"},
      {"shoal-model 1;name m;input 4;classes 2;standardize 0 0;linear a out=2", "deviations"},
      {"shoal-model 1;name m;input 4;classes 2;standardize 0 -1;linear a out=2", "deviations"},
      {"shoal-model 1;name m;input 4;classes 2;standardize 2e6 1;linear a out=2", "means"},
      {"shoal-model 1;name m;input 4;classes 2;standardize 0 1;standardize 0 1;linear a out=2", "already"},
  };
  for (const BadText& c : cases) {
    const auto result = parse_description(c.text);
    ASSERT_FALSE(result.ok()) << c.text;
    EXPECT_EQ(result.error().code(), ErrorCode::kInvalid);
    EXPECT_NE(result.error().to_string().find(c.says), std::string::npos) << result.error().to_string();
  }
  for (const char* layers : {"linear a out=2", "conv2d a out=2 kernel=9;flatten;linear b out=2", "conv2d a kernel=3",
                             "maxpool kernel=0", "groupnorm a groups=2", "residual a out=6 groups=4", "globalaverage"})
    EXPECT_FALSE(parse_description(head + layers).ok()) << layers;
  EXPECT_FALSE(layout_of(parse_description(head + "flatten;linear a out=2;linear a out=2").value()).ok());
}

TEST(Initialise, draws_within_one_over_root_fan_in) {
  const ModelDescription model = make_description("resnet8-gn", {3, 32, 32}, 10).value();
  const TensorLayout layout = layout_of(model).value();
  std::vector<float> values(layout.total(), 77.0f);
  initialise(model, 5, values).value();
  for (std::size_t t = 0; t < layout.tensors().size(); ++t) {
    const TensorSpec& spec = layout.tensors()[t];
    const auto part = std::span(values).subspan(layout.offset(t), layout.count(t));
    if (spec.group == "norm") {
      const float want = spec.name.ends_with("weight") ? 1.0f : 0.0f;
      EXPECT_TRUE(std::ranges::all_of(part, [&](float v) { return v == want; })) << spec.name;
      continue;
    }
    double fan_in = 64;  // of fc, for its bias too
    if (spec.shape.size() == 4) fan_in = static_cast<double>(spec.shape[1] * spec.shape[2] * spec.shape[3]);
    double largest = 0, square = 0;
    for (float v : part) {
      largest = std::max(largest, std::abs(double{v}));
      square += double{v} * v;
    }
    const double bound = 1 / std::sqrt(fan_in);
    EXPECT_LE(largest, bound) << spec.name;
    if (part.size() > 200) {
      EXPECT_GT(largest, 0.95 * bound) << spec.name;
      EXPECT_NEAR(square / static_cast<double>(part.size()), bound * bound / 3, 0.15 * bound * bound / 3) << spec.name;
    }
  }
}

TEST(Initialise, starts_branches_without_effect) {
  const ModelDescription model = make_description("char-transformer-lora4-adapter8", {testing::kWindow}, 97).value();
  const TensorLayout layout = layout_of(model).value();
  std::vector<float> values(layout.total(), 77.0f);
  initialise(model, 5, values).value();
  for (std::size_t t = 0; t < layout.tensors().size(); ++t) {
    const std::string& name = layout.tensors()[t].name;
    const auto part = std::span(values).subspan(layout.offset(t), layout.count(t));
    const bool zero = std::ranges::all_of(part, [](float v) { return v == 0; });
    const bool last = name.ends_with("lora_B.weight") || name.find(".up.") != std::string::npos;
    const bool shift = layout.tensors()[t].group == "norm" && name.ends_with(".bias");
    EXPECT_EQ(zero, last || shift) << name;
  }
}

TEST(Initialise, gives_the_same_bits_for_a_seed_everywhere) {
  const ModelDescription model = make_description("2nn", kImage, 10).value();
  std::vector<float> a(199210), b(199210), c(199210);
  initialise(model, 1, a).value();
  initialise(model, 1, b).value();
  initialise(model, 2, c).value();
  EXPECT_EQ(a, b);
  EXPECT_NE(a, c);
}

}  // namespace
}  // namespace shoal::client::training
