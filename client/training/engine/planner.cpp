#include "client/training/engine/planner.h"

#include "client/training/engine/fit.h"
#include "protocol/update_plan.h"

namespace shoal::client::training::engine {

Result<std::vector<protocol::PlanRow>> with_memory(std::span<const protocol::PlanRow> table,
                                                   const ModelDescription& model, const protocol::TrainingSpec& spec) {
  constexpr std::uint64_t kUnit = 100'000;
  SHOAL_TRY_ASSIGN(const Graph graph, graph_of(model));
  SHOAL_TRY_ASSIGN(const TensorLayout layout, layout_of(model));
  std::vector<protocol::PlanRow> rows(table.begin(), table.end());
  for (protocol::PlanRow& row : rows) {
    if (row.memory.count > 0) continue;
    SHOAL_TRY_ASSIGN(const std::vector<bool> trained, protocol::trained_by(row.plan, layout));
    SHOAL_TRY_ASSIGN(const std::size_t least, least_memory(graph, trained, {.spec = spec}, spec.batch_size));
    row.memory.count = (least + kUnit - 1) / kUnit * kUnit;
  }
  return rows;
}

}  // namespace shoal::client::training::engine
