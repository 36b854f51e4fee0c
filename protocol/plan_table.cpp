#include "protocol/plan_table.h"

#include <algorithm>

#include "protocol/update_plan.h"

namespace shoal::protocol {
namespace {

std::string_view trim(std::string_view text) {
  const std::size_t first = text.find_first_not_of(' ');
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(' ') - first + 1);
}

Result<PlanRow> parse_row(std::string_view text) {
  const std::size_t colon = text.find(':');
  PlanRow row{std::string(trim(text.substr(0, colon)))};
  SHOAL_TRY(check_plan(row.plan));
  if (colon == std::string_view::npos) return row;
  auto memory = parse_bytes(trim(text.substr(colon + 1)));
  if (!memory.ok()) return std::move(memory).error().because_of_this("the memory of plan '" + row.plan + "'");
  row.memory = *memory;
  return row;
}

// Memory is stated in tenths of a megabyte as a rule.
std::string megabytes(Bytes memory) {
  constexpr std::uint64_t kTenth = 100'000;
  if (memory.count % kTenth != 0) return format_bytes(memory);
  const std::uint64_t tenths = memory.count / kTenth;
  return std::to_string(tenths / 10) + (tenths % 10 != 0 ? "." + std::to_string(tenths % 10) : "") + "MB";
}

}  // namespace

Result<std::vector<PlanRow>> parse_plan_table(std::string_view text) {
  std::vector<PlanRow> table;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    SHOAL_TRY_ASSIGN(PlanRow row, parse_row(text.substr(begin, end - begin)));
    if (std::ranges::find(table, row.plan, &PlanRow::plan) != table.end())
      return Error(ErrorCode::kInvalid, "plan '" + row.plan + "' is listed twice");
    table.push_back(std::move(row));
    begin = end + 1;
  }
  if (table.size() > kMaxPlans)
    return Error(ErrorCode::kInvalid, "more than " + std::to_string(kMaxPlans) + " plans are listed");
  return table;
}

std::string to_text(std::span<const PlanRow> table) {
  std::string text;
  for (const PlanRow& row : table) {
    text += (text.empty() ? "" : ", ") + row.plan;
    if (row.memory.count > 0) text += ":" + megabytes(row.memory);
  }
  return text;
}

std::optional<std::size_t> plan_for(std::span<const PlanRow> table, std::uint64_t budget) {
  for (std::size_t i = 0; i < table.size(); ++i)
    if (budget == 0 || table[i].memory.count <= budget) return i;
  return std::nullopt;
}

}  // namespace shoal::protocol
