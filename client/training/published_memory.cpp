#include "client/training/published_memory.h"

#include <algorithm>

#include "base/check.h"

namespace shoal::client::training {
namespace {

// Bytes of the values that the shortcut of operation `i`'s block keeps alive; 0 where it has none.
std::vector<std::size_t> shortcuts(const Graph& graph) {
  std::vector<std::size_t> bytes(graph.ops.size());
  for (std::size_t first = 0; first < graph.ops.size();) {
    std::size_t end = first;
    while (end < graph.ops.size() && graph.ops[end].layer == graph.ops[first].layer) ++end;
    const ValueId entering = graph.ops[first].inputs[0];
    for (std::size_t i = first; i < end; ++i)
      if (graph.ops[i].kind == OpKind::kAdd &&
          std::ranges::find(graph.ops[i].inputs, entering) != graph.ops[i].inputs.end())
        std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(first), bytes.begin() + static_cast<std::ptrdiff_t>(end),
                  4 * graph.count(entering));
    first = end;
  }
  return bytes;
}

}  // namespace

PublishedMemory published_memory(const Graph& graph, const std::vector<bool>& trained) {
  SHOAL_CHECK(trained.size() == graph.parameters.size(), "a plan of another graph");
  PublishedMemory memory;
  for (ParameterId p = 0; p < graph.parameters.size(); ++p)
    (trained[p] ? memory.trained_parameters : memory.frozen_parameters) += graph.parameters[p].count();
  const std::vector<std::size_t> shortcut = shortcuts(graph);
  std::vector<bool> needs(graph.values.size());  // does something below train?
  for (std::size_t i = 0; i < graph.ops.size(); ++i) {
    const Op& op = graph.ops[i];
    const bool weight = op.weight && trained[*op.weight];
    needs[op.output] =
        weight || (op.bias && trained[*op.bias]) || std::ranges::any_of(op.inputs, [&](ValueId v) { return needs[v]; });
    const std::size_t in = graph.count(op.inputs[0]), out = graph.count(op.output);
    std::size_t now = 0, stored = 0;
    switch (op.kind) {
      case OpKind::kConv2d:
        now = 4 * in + 4 * out / op.groups;
        stored = weight ? 4 * in : 0;
        break;
      case OpKind::kLinear:
        now = 4 * (in + out);
        stored = weight ? 4 * in : 0;
        break;
      case OpKind::kGroupNorm:
        now = 4 * in;
        stored = weight ? 4 * in : 0;
        break;
      case OpKind::kRelu:
      case OpKind::kRelu6:
        now = 4 * in;
        stored = needs[op.inputs[0]] ? (in + 7) / 8 : 0;
        break;
      default: break;  // pooling, sums and reshaping keep nothing
    }
    memory.peak_bytes = std::max(memory.peak_bytes, now + memory.stored_bytes + shortcut[i]);
    memory.stored_bytes += stored;
  }
  return memory;
}

}  // namespace shoal::client::training
