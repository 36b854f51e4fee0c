// How a run looks while it runs: a bar on a terminal, plain lines anywhere else.
#pragma once

#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>

#include "base/time.h"
#include "simulator/engine.h"

namespace shoal::simulator {

struct ProgressOptions {
  bool terminal = false;  // redraw one line
  bool color = false;
  int columns = 80;
};

// Writes to a stream that it does not own.
class Progress {
 public:
  Progress(std::FILE* out, const ProgressOptions& options, std::uint64_t rounds)
      : out_(out), options_(options), rounds_(rounds) {}

  // A line of its own; the bar, if any, is redrawn below it.
  void say(std::string_view line);
  // On a terminal the bar is drawn at most ten times a second of `wall`.
  void show(const RoundRecord& record, Duration wall);
  // Leaves the last state of the bar standing.
  void finish();

 private:
  std::string bar(Version version) const;
  void draw();

  std::FILE* out_;
  ProgressOptions options_;
  std::uint64_t rounds_;
  std::string line_;  // the bar as it should look now
  std::optional<double> accuracy_;
  std::optional<Duration> drawn_;
};

}  // namespace shoal::simulator
