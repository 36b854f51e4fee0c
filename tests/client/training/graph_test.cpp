#include "client/training/graph.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/client/training/trainer_bench.h"

namespace shoal::client::training {
namespace {

using testing::input_of;

TEST(Graph, EveryValueIsWrittenOnceBeforeItIsRead) {
  for (const std::string_view name : catalogue_names()) {
    const Graph graph = graph_of(make_description(name, input_of(name, {3, 32, 32}), 7).value()).value();
    std::set<ValueId> written{0};
    for (const Op& op : graph.ops) {
      for (const ValueId value : op.inputs) EXPECT_TRUE(written.contains(value)) << name;
      EXPECT_TRUE(written.insert(op.output).second) << name;
    }
    EXPECT_EQ(written.size(), graph.values.size());
    EXPECT_EQ(graph.shape(graph.output), Shape{7});
  }
}

TEST(Graph, ItsShapesAreThoseOfTheDescription) {
  for (const std::string_view name : catalogue_names()) {
    const ModelDescription model = make_description(name, input_of(name, {3, 32, 32}), 7).value();
    const Graph graph = graph_of(model).value();
    for (const Shape& shape : shapes_of(model).value())
      EXPECT_TRUE(std::ranges::find(graph.values, shape) != graph.values.end()) << name;
  }
}

TEST(Graph, ItsParametersAreTheLayout) {
  for (const std::string_view name : catalogue_names()) {
    const ModelDescription model = make_description(name, input_of(name), 10).value();
    const Graph graph = graph_of(model).value();
    const TensorLayout layout = layout_of(model).value();
    ASSERT_EQ(graph.parameters.size(), layout.tensors().size());
    for (std::size_t p = 0; p < graph.parameters.size(); ++p) EXPECT_EQ(graph.parameters[p].spec, layout.tensors()[p]);
    std::set<ParameterId> used;
    for (const Op& op : graph.ops)
      for (const auto& parameter : {op.weight, op.bias}) {
        if (!parameter) continue;
        EXPECT_TRUE(used.insert(*parameter).second);
      }
    EXPECT_EQ(used.size(), graph.parameters.size()) << "each belongs to one operation";
  }
}

TEST(Graph, ATransformerBlockHasTheParametersOfPyTorchs) {
  const ModelDescription model = parse_description(
                                     "shoal-model 1\nname t\ninput 6\nclasses 9\nembedding e out=8 vocabulary=9\n"
                                     "transformer b heads=2 hidden=16 causal=1 lora=2 adapter=3\nlasttoken\n"
                                     "linear f out=9\n")
                                     .value();
  const Graph graph = graph_of(model).value();
  const std::vector<TensorSpec> want{{"e.weight", {9, 8}, "backbone"},
                                     {"b.norm1.weight", {8}, "norm"},
                                     {"b.norm1.bias", {8}, "norm"},
                                     {"b.self_attn.in_proj_weight", {24, 8}, "backbone"},
                                     {"b.self_attn.in_proj_bias", {24}, "bias"},
                                     {"b.self_attn.in_proj.lora_A.weight", {2, 8}, "lora"},
                                     {"b.self_attn.in_proj.lora_B.weight", {24, 2}, "lora"},
                                     {"b.self_attn.out_proj.weight", {8, 8}, "backbone"},
                                     {"b.self_attn.out_proj.bias", {8}, "bias"},
                                     {"b.self_attn.out_proj.lora_A.weight", {2, 8}, "lora"},
                                     {"b.self_attn.out_proj.lora_B.weight", {8, 2}, "lora"},
                                     {"b.adapter1.down.weight", {3, 8}, "adapter"},
                                     {"b.adapter1.down.bias", {3}, "adapter"},
                                     {"b.adapter1.up.weight", {8, 3}, "adapter"},
                                     {"b.adapter1.up.bias", {8}, "adapter"},
                                     {"b.norm2.weight", {8}, "norm"},
                                     {"b.norm2.bias", {8}, "norm"},
                                     {"b.linear1.weight", {16, 8}, "backbone"},
                                     {"b.linear1.bias", {16}, "bias"},
                                     {"b.linear1.lora_A.weight", {2, 8}, "lora"},
                                     {"b.linear1.lora_B.weight", {16, 2}, "lora"},
                                     {"b.linear2.weight", {8, 16}, "backbone"},
                                     {"b.linear2.bias", {8}, "bias"},
                                     {"b.linear2.lora_A.weight", {2, 16}, "lora"},
                                     {"b.linear2.lora_B.weight", {8, 2}, "lora"},
                                     {"b.adapter2.down.weight", {3, 8}, "adapter"},
                                     {"b.adapter2.down.bias", {3}, "adapter"},
                                     {"b.adapter2.up.weight", {8, 3}, "adapter"},
                                     {"b.adapter2.up.bias", {8}, "adapter"},
                                     {"f.weight", {9, 8}, "head"},
                                     {"f.bias", {9}, "head"}};
  ASSERT_EQ(graph.parameters.size(), want.size());
  for (std::size_t p = 0; p < want.size(); ++p) EXPECT_EQ(graph.parameters[p].spec, want[p]);
  for (const Op& op : graph.ops)
    if (op.kind == OpKind::kAttention) {
      EXPECT_EQ(op.heads, 2u);
      EXPECT_TRUE(op.causal);
      EXPECT_EQ(graph.shape(op.inputs[0]), (Shape{6, 24}));
      EXPECT_EQ(graph.shape(op.output), (Shape{6, 8}));
    }
}

TEST(Graph, RefusesWhatDoesNotFitTogether) {
  ModelDescription model = make_description("cnn", {1, 28, 28}, 10).value();
  model.layers.erase(model.layers.begin() + 6);  // the flatten
  const auto graph = graph_of(model);
  ASSERT_FALSE(graph.ok());
  EXPECT_EQ(graph.error().code(), ErrorCode::kInvalid);
}

}  // namespace
}  // namespace shoal::client::training
