#include "cli/table.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace shoal::cli {
namespace {

constexpr std::string_view kGap = "  ";

std::string padded(const std::string& cell, int width, Align align) {
  const std::string space(static_cast<std::size_t>(std::max(0, width - display_width(cell))), ' ');
  return align == Align::kRight ? space + cell : cell + space;
}

void append_line(std::string line, std::string& out) {
  while (!line.empty() && line.back() == ' ') line.pop_back();
  out += line + "\n";
}

}  // namespace

void Table::add(std::vector<std::string> cells) {
  SHOAL_CHECK(cells.size() == columns_.size(), "a table row needs one cell for each column");
  rows_.push_back(std::move(cells));
}

std::string Table::render(const Terminal& terminal) const {
  std::vector<int> widths;
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    int width = display_width(columns_[c].title);
    for (const auto& row : rows_) width = std::max(width, display_width(row[c]));
    widths.push_back(width);
  }
  std::string out, header, rule;
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    header += (c == 0 ? "" : std::string(kGap)) +
              paint(padded(columns_[c].title, widths[c], columns_[c].align), Color::kBold, terminal);
    rule += c == 0 ? "" : std::string(kGap);
    for (int i = 0; i < widths[c]; ++i) rule += terminal.unicode ? "─" : "-";
  }
  append_line(header, out);
  append_line(paint(rule, Color::kDim, terminal), out);
  for (const auto& row : rows_) {
    std::string line;
    for (std::size_t c = 0; c < columns_.size(); ++c)
      line += (c == 0 ? "" : std::string(kGap)) + padded(row[c], widths[c], columns_[c].align);
    append_line(std::move(line), out);
  }
  return out;
}

std::string grouped(std::uint64_t n) {
  std::string text = std::to_string(n);
  for (std::size_t at = text.size(); at > 3;) text.insert(at -= 3, ",");
  return text;
}

std::string render_facts(const std::vector<std::pair<std::string, std::string>>& facts, const Terminal& terminal) {
  int width = 0;
  for (const auto& [name, value] : facts) width = std::max(width, display_width(name));
  std::string out;
  for (const auto& [name, value] : facts)
    append_line(paint(padded(name, width, Align::kLeft), Color::kDim, terminal) + std::string(kGap) + value, out);
  return out;
}

}  // namespace shoal::cli
