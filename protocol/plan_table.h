// The plans of a job, best first, and the memory that each needs: a device trains the first one that its budget allows.
//
//   table := row {"," row}
//   row   := plan [":" bytes]      as in "full:392MB, lite+bias:43.3MB, head"; without bytes every device can
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/units.h"

namespace shoal::protocol {

struct PlanRow {
  std::string plan;
  Bytes memory{0};  // that training takes at least; 0: not known

  friend bool operator==(const PlanRow&, const PlanRow&) = default;
};

inline constexpr std::size_t kMaxPlans = 16;

// kInvalid for no row, more than kMaxPlans, a plan that there is not or that comes twice, or bytes that are none.
Result<std::vector<PlanRow>> parse_plan_table(std::string_view text);
std::string to_text(std::span<const PlanRow> table);

// The place of the first plan for a device with that budget in bytes; 0: it has not stated one, and can do anything.
std::optional<std::size_t> plan_for(std::span<const PlanRow> table, std::uint64_t budget);

}  // namespace shoal::protocol
