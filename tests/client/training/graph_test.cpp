#include "client/training/graph.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace shoal::client::training {
namespace {

TEST(Graph, EveryValueIsWrittenOnceBeforeItIsRead) {
  for (const std::string_view name : catalogue_names()) {
    const Graph graph = graph_of(make_description(name, {3, 32, 32}, 7).value()).value();
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
    const ModelDescription model = make_description(name, {3, 32, 32}, 7).value();
    const Graph graph = graph_of(model).value();
    for (const Shape& shape : shapes_of(model).value())
      EXPECT_TRUE(std::ranges::find(graph.values, shape) != graph.values.end()) << name;
  }
}

TEST(Graph, ItsParametersAreTheLayout) {
  for (const std::string_view name : catalogue_names()) {
    const ModelDescription model = make_description(name, {1, 28, 28}, 10).value();
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

TEST(Graph, RefusesWhatDoesNotFitTogether) {
  ModelDescription model = make_description("cnn", {1, 28, 28}, 10).value();
  model.layers.erase(model.layers.begin() + 6);  // the flatten
  const auto graph = graph_of(model);
  ASSERT_FALSE(graph.ok());
  EXPECT_EQ(graph.error().code(), ErrorCode::kInvalid);
}

}  // namespace
}  // namespace shoal::client::training
