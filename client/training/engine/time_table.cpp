#include "client/training/engine/time_table.h"

#include <algorithm>

namespace shoal::client::training::engine {
namespace {

constexpr int kRuns = 3;  // of a program; the fastest counts, since nothing makes an instruction faster than it is

std::string key_of(const Tape& tape, const Instruction& instruction) {
  std::string key = instruction.name;
  for (const BufferId buffer : instruction.uses) key += " " + std::to_string(tape.buffers()[buffer].bytes);
  return key;
}

}  // namespace

Result<double> TimeTable::step_seconds(Fitted& fitted, std::span<const float> model, std::uint32_t batch) {
  Program& program = *fitted.program;
  const std::span<const Instruction> instructions = program.tape().instructions();
  std::vector<std::string> keys;
  for (const Instruction& instruction : instructions) keys.push_back(key_of(program.tape(), instruction));
  if (!std::ranges::all_of(keys, [&](const std::string& key) { return seconds_.contains(key); })) {
    SHOAL_TRY(program.load(model));
    std::vector<double> fastest;
    for (int run = 0; run < kRuns; ++run) {
      const std::vector<double> seconds = program.time_step(clock_);
      if (fastest.empty()) fastest = seconds;
      for (std::size_t i = 0; i < seconds.size(); ++i) fastest[i] = std::min(fastest[i], seconds[i]);
    }
    for (std::size_t i = 0; i < keys.size(); ++i) seconds_.emplace(keys[i], fastest[i]);
    ++programs_run_;
  }
  const std::uint32_t examples = fitted.way.options.examples, passes = (batch + examples - 1) / examples;
  double pass = 0, finish = 0;
  for (std::size_t i = 0; i < keys.size(); ++i) (i < program.pass_end() ? pass : finish) += seconds_.at(keys[i]);
  return passes * pass + finish;
}

}  // namespace shoal::client::training::engine
