#include "protocol/update_layout.h"

#include "base/check.h"
#include "protocol/plan_table.h"
#include "protocol/update_plan.h"

namespace shoal::protocol {

UpdateLayout::UpdateLayout(const std::vector<bool>& trained, const TensorLayout& layout) {
  SHOAL_CHECK(trained.size() == layout.tensors().size(), "every tensor is trained or is not");
  for (std::size_t tensor = 0; tensor < trained.size(); ++tensor)
    if (trained[tensor]) add(layout.offset(tensor), layout.count(tensor));
}

UpdateLayout UpdateLayout::whole(std::uint64_t floats) {
  UpdateLayout layout;
  layout.add(0, floats);
  return layout;
}

void UpdateLayout::add(std::uint64_t model, std::uint64_t count) {
  if (count == 0) return;
  if (!ranges_.empty() && ranges_.back().model + ranges_.back().count == model) {
    ranges_.back().count += count;
  } else {
    ranges_.push_back({model, floats(), count});
  }
}

Result<UpdateLayout> update_layout(std::string_view plan, const TensorLayout& layout) {
  SHOAL_TRY_ASSIGN(const std::vector<bool> trained, trained_by(plan, layout));
  return UpdateLayout(trained, layout);
}

Result<std::vector<UpdateLayout>> update_layouts(std::string_view plan_table, const TensorLayout& layout) {
  SHOAL_TRY_ASSIGN(const std::vector<PlanRow> table, parse_plan_table(plan_table));
  std::vector<UpdateLayout> layouts;
  for (const PlanRow& row : table) {
    SHOAL_TRY_ASSIGN(UpdateLayout update, update_layout(row.plan, layout));
    layouts.push_back(std::move(update));
  }
  return layouts;
}

}  // namespace shoal::protocol
