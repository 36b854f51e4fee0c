#include "client/training/engine/fit.h"

#include <algorithm>

#include "base/units.h"
#include "client/training/engine/onednn.h"

namespace shoal::client::training::engine {
namespace {

// Every stretch of layers between two of the model's blocks, and every block by itself: what enters them is kept.
std::vector<LayerSpan> block_spans(const Graph& graph) {
  std::vector<std::uint32_t> operations;  // of each layer
  for (const Op& op : graph.ops) {
    operations.resize(op.layer + 1);
    ++operations[op.layer];
  }
  std::vector<LayerSpan> spans;
  std::uint32_t first = 0;
  const auto end_stretch = [&](std::uint32_t end) {
    if (first < end) spans.push_back({first, end});
  };
  for (std::uint32_t layer = 0; layer < operations.size(); ++layer) {
    if (operations[layer] < 2) continue;
    end_stretch(layer);
    spans.push_back({layer, layer + 1});
    first = layer + 1;
  }
  end_stretch(static_cast<std::uint32_t>(operations.size()));
  return spans;
}

// batch, batch / 2, ... 1, rounded up so that no step needs more passes than it must.
std::vector<std::uint32_t> micro_batches(std::uint32_t batch) {
  std::vector<std::uint32_t> sizes{batch};
  for (std::uint32_t passes = 2; sizes.back() > 1; passes *= 2) {
    const std::uint32_t size = (batch + passes - 1) / passes;
    if (size < sizes.back()) sizes.push_back(size);
  }
  return sizes;
}

}  // namespace

std::string Way::text() const {
  std::string text =
      std::to_string(options.examples) + (options.examples == 1 ? " example" : " examples") + " at a time";
  if (!options.rematerialize.empty()) text += ", blocks computed again";
  if (options.frozen == FrozenWeights::kInt8) text += ", frozen weights in int8";
  if (options.moments == Moments::kBfloat16) text += ", moments in bfloat16";
  if (options.moments == Moments::kInt8) text += ", moments in 8 bits";
  return text;
}

std::vector<Way> ways_to_train(const Graph& graph, const std::vector<bool>& trained, const ProgramOptions& wanted,
                               std::uint32_t batch) {
  struct Precision {
    FrozenWeights frozen;
    Moments moments;
  };
  const bool all_trained = std::ranges::find(trained, false) == trained.end();
  const bool has_moments = LocalOptimizer(wanted.spec).state_bytes(1) > 0;
  std::vector<Precision> precisions{{FrozenWeights::kFloat, Moments::kFloat}};
  const FrozenWeights frozen = all_trained ? FrozenWeights::kFloat : FrozenWeights::kInt8;
  if (!all_trained) precisions.push_back({frozen, Moments::kFloat});
  if (has_moments) {
    precisions.push_back({frozen, Moments::kBfloat16});
    precisions.push_back({frozen, Moments::kInt8});
  }
  const std::vector<LayerSpan> spans = block_spans(graph);
  std::vector<Way> ways;
  for (const Precision& precision : precisions)
    for (const bool again : {false, true}) {
      if (again && spans.size() < 2) continue;
      for (const std::uint32_t examples : micro_batches(batch)) {
        ProgramOptions options = wanted;
        options.examples = examples;
        options.accumulate = examples < batch;
        options.frozen = precision.frozen;
        options.moments = precision.moments;
        if (again) options.rematerialize = spans;
        ways.push_back({std::move(options)});
      }
    }
  return ways;
}

Result<Fitted> fit(const Graph& graph, const std::vector<bool>& trained, const ProgramOptions& wanted,
                   std::uint32_t batch, std::size_t budget) {
  std::size_t smallest = SIZE_MAX;
  for (Way& way : ways_to_train(graph, trained, wanted, batch)) {
    SHOAL_TRY_ASSIGN(auto program, Program::compile(graph, trained, way.options));
    const std::size_t bytes = program->plan().bytes;
    if (budget == 0 || bytes <= budget) return Fitted{std::move(way), std::move(program)};
    smallest = std::min(smallest, bytes);
    program.reset();
    forget_unused_primitives();
  }
  return Error(ErrorCode::kExhausted, "steps of " + std::to_string(batch) + " examples need " + human_bytes(smallest) +
                                          " at the least, and the budget is " + human_bytes(budget) +
                                          "; raise it, or train less with another plan");
}

Result<std::size_t> least_memory(const Graph& graph, const std::vector<bool>& trained, const ProgramOptions& wanted,
                                 std::uint32_t batch) {
  const std::vector<Way> ways = ways_to_train(graph, trained, wanted, batch);
  std::size_t least = SIZE_MAX;
  for (const Way& way : ways) {
    // A higher precision never needs less.
    if (way.options.frozen != ways.back().options.frozen || way.options.moments != ways.back().options.moments)
      continue;
    SHOAL_TRY_ASSIGN(const auto program, Program::compile(graph, trained, way.options));
    least = std::min(least, program->plan().bytes);
  }
  return least;
}

}  // namespace shoal::client::training::engine
