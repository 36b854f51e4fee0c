// How long work looks while it runs: one bar that is drawn again on a terminal, plain lines in a log.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>

#include "cli/terminal.h"

namespace shoal::cli {

class ProgressBar {
 public:
  // `out` outlives the bar.
  ProgressBar(std::FILE* out, const Terminal& terminal) : out_(out), terminal_(terminal) {}
  ~ProgressBar() { finish(); }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  // `done` of `total`, and facts to its right. Without a terminal every call is a line of the facts alone.
  void show(double done, double total, std::string_view facts);
  // A line of its own, above the bar.
  void say(std::string_view line);
  // Leaves the bar's last state standing. Idempotent.
  void finish();

 private:
  std::FILE* out_;
  Terminal terminal_;
  std::string line_;  // the bar as it stands
};

// `cells` wide, filled in eighths of a cell: "██████▌   ". ASCII where there is no Unicode.
std::string bar(double fraction, int cells, bool unicode);

}  // namespace shoal::cli
