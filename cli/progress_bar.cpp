#include "cli/progress_bar.h"

#include <algorithm>
#include <cmath>

namespace shoal::cli {
namespace {

constexpr int kCells = 24;

// Cut to what one line of the terminal holds: a wrapped line could not be drawn again.
std::string fitting(std::string_view text, int columns) {
  std::size_t end = 0;
  for (int width = 0; end < text.size(); ++end) {
    const bool starts_character = (static_cast<unsigned char>(text[end]) & 0xC0) != 0x80;
    if (starts_character && ++width > columns) break;
  }
  return std::string(text.substr(0, end));
}

}  // namespace

std::string bar(double fraction, int cells, bool unicode) {
  fraction = std::isfinite(fraction) ? std::clamp(fraction, 0.0, 1.0) : 0.0;
  const int eighths = static_cast<int>(std::floor(fraction * cells * 8));
  std::string text;
  for (int cell = 0; cell < cells; ++cell) {
    const int filled = std::clamp(eighths - cell * 8, 0, 8);
    static constexpr const char* kBlocks[] = {" ", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"};
    text += unicode ? kBlocks[filled] : filled >= 4 ? "#" : ".";
  }
  return text;
}

void ProgressBar::show(double done, double total, std::string_view facts) {
  if (!terminal_.interactive) {
    std::fprintf(out_, "%.*s\n", static_cast<int>(facts.size()), facts.data());
    std::fflush(out_);
    return;
  }
  const std::string cells = bar(total > 0 ? done / total : 0, kCells, terminal_.unicode);
  line_ = paint(cells, Color::kCyan, terminal_) + "  " + fitting(facts, terminal_.columns - kCells - 3);
  std::fprintf(out_, "\r\033[2K%s", line_.c_str());
  std::fflush(out_);
}

void ProgressBar::say(std::string_view line) {
  if (!line_.empty()) std::fprintf(out_, "\r\033[2K");
  std::fprintf(out_, "%.*s\n%s", static_cast<int>(line.size()), line.data(), line_.c_str());
  std::fflush(out_);
}

void ProgressBar::finish() {
  if (line_.empty()) return;
  std::fputc('\n', out_);
  std::fflush(out_);
  line_.clear();
}

}  // namespace shoal::cli
