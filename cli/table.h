// Aligned columns for people: a header, a thin rule, rows.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "cli/terminal.h"

namespace shoal::cli {

enum class Align { kLeft, kRight };

struct Column {
  std::string title;
  Align align = Align::kLeft;
};

class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  // As many cells as columns (checked). Cells may be painted.
  void add(std::vector<std::string> cells);
  bool empty() const { return rows_.empty(); }

  // Lines with newlines. Without a terminal it looks the same but for the colors.
  std::string render(const Terminal& terminal) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

// 1234567 to "1,234,567".
std::string grouped(std::uint64_t n);

// "name   value" lines for one thing: names dimmed and as wide as the widest.
std::string render_facts(const std::vector<std::pair<std::string, std::string>>& facts, const Terminal& terminal);

}  // namespace shoal::cli
