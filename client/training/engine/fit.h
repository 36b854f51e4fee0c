// Training fitted into a budget: the ways to trade time, and then precision, for memory, and the first that is small
// enough.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "client/training/engine/program.h"

namespace shoal::client::training::engine {

// One way to train: `options` of a program, for micro-batches of options.examples.
struct Way {
  ProgramOptions options;
  std::string text() const;  // "2 of 8 examples at a time, blocks computed again, frozen weights in int8"
};

// From the fastest and most exact to the smallest, for steps of `batch` examples: first what changes no result (smaller
// micro-batches, then rematerialization), then frozen weights in int8, then an optimizer's moments in bfloat16 and in
// 8 bits. Of `wanted` spec and norm_gradient are kept.
std::vector<Way> ways_to_train(const Graph& graph, const std::vector<bool>& trained, const ProgramOptions& wanted,
                               std::uint32_t batch);

struct Fitted {
  Way way;
  std::unique_ptr<Program> program;
};
// The first way whose arena has at most `budget` bytes; 0: no limit. kExhausted says what the smallest one needs.
Result<Fitted> fit(const Graph& graph, const std::vector<bool>& trained, const ProgramOptions& wanted,
                   std::uint32_t batch, std::size_t budget);

// The arena of the smallest way, in bytes.
Result<std::size_t> least_memory(const Graph& graph, const std::vector<bool>& trained, const ProgramOptions& wanted,
                                 std::uint32_t batch);

}  // namespace shoal::client::training::engine
