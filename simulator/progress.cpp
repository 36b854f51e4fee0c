#include "simulator/progress.h"

#include <algorithm>

#include "base/units.h"

namespace shoal::simulator {
namespace {

constexpr int kBarCells = 24;
constexpr Duration kRedraw = std::chrono::milliseconds(100);
constexpr std::uint64_t kPlainLines = 50;  // about as many in a log, however many rounds

std::string percent(double share) {
  char text[16];
  std::snprintf(text, sizeof text, "%.2f %%", 100 * share);
  return text;
}

}  // namespace

std::string Progress::bar(Version version) const {
  const auto filled = static_cast<int>(std::min<std::uint64_t>(kBarCells, version * kBarCells / std::max<std::uint64_t>(1, rounds_)));
  std::string cells;
  for (int i = 0; i < kBarCells; ++i) cells += i < filled ? "━" : "─";
  return options_.color ? "\033[36m" + cells + "\033[0m" : cells;
}

void Progress::draw() {
  if (line_.empty()) return;
  std::fprintf(out_, "\r\033[2K%s", line_.c_str());
  std::fflush(out_);
}

void Progress::say(std::string_view line) {
  if (options_.terminal && !line_.empty()) std::fprintf(out_, "\r\033[2K");
  std::fprintf(out_, "%.*s\n", static_cast<int>(line.size()), line.data());
  if (options_.terminal) draw();
  std::fflush(out_);
}

void Progress::show(const RoundRecord& record, Duration wall) {
  if (record.test && record.test->samples > 0)
    accuracy_ = static_cast<double>(record.test->correct) / static_cast<double>(record.test->samples);
  const std::string count = std::to_string(record.version) + "/" + std::to_string(rounds_);
  std::string facts = "round " + count + "  " + human_duration(record.at.time_since_epoch()) + " virtual";
  if (accuracy_) facts += "  accuracy " + percent(*accuracy_);
  facts += "  up " + human_bytes(record.total.up) + "  down " + human_bytes(record.total.down);
  const bool last = record.version >= rounds_;
  if (options_.terminal) {
    line_ = bar(record.version) + "  " + facts;
    if (!last && drawn_ && wall - *drawn_ < kRedraw) return;
    drawn_ = wall;
    draw();
    return;
  }
  const std::uint64_t stride = std::max<std::uint64_t>(1, rounds_ / kPlainLines);
  if (record.version != 1 && !last && record.version % stride != 0) return;
  facts += "  received " + std::to_string(record.received);
  if (record.refusals() > 0) facts += ", " + std::to_string(record.refusals()) + " refused";
  say(facts);
}

void Progress::finish() {
  if (!options_.terminal || line_.empty()) return;
  draw();
  line_.clear();
  std::fputc('\n', out_);
  std::fflush(out_);
}

}  // namespace shoal::simulator
