#include "client/training/engine/planner.h"

#include <algorithm>
#include <functional>

#include "client/training/engine/onednn.h"
#include "client/training/engine/time_table.h"
#include "protocol/update_layout.h"
#include "protocol/update_plan.h"

namespace shoal::client::training::engine {

Bytes stated(std::size_t least) {
  constexpr std::uint64_t kUnit = 100'000;
  return {(least + kUnit - 1) / kUnit * kUnit};
}

Result<std::vector<protocol::PlanRow>> with_memory(std::span<const protocol::PlanRow> table,
                                                   const ModelDescription& model, const protocol::TrainingSpec& spec) {
  SHOAL_TRY_ASSIGN(const Graph graph, graph_of(model));
  SHOAL_TRY_ASSIGN(const TensorLayout layout, layout_of(model));
  std::vector<protocol::PlanRow> rows(table.begin(), table.end());
  for (protocol::PlanRow& row : rows) {
    if (row.memory.count > 0) continue;
    SHOAL_TRY_ASSIGN(const std::vector<bool> trained, protocol::trained_by(row.plan, layout));
    SHOAL_TRY_ASSIGN(const std::size_t least, least_memory(graph, trained, {.spec = spec}, spec.batch_size));
    row.memory = stated(least);
  }
  return rows;
}

Result<std::vector<Candidate>> candidates(const ModelDescription& model, const ProgramOptions& wanted,
                                          std::uint32_t batch, std::size_t budget, const Clock& clock) {
  SHOAL_TRY_ASSIGN(const Graph graph, graph_of(model));
  SHOAL_TRY_ASSIGN(const TensorLayout layout, layout_of(model));
  std::vector<float> values(layout.total());
  SHOAL_TRY(initialise(model, 1, values));
  use_one_thread();
  TimeTable times(clock);
  std::vector<Candidate> found;
  for (const std::string_view plan : protocol::plan_names()) {
    const auto trained = protocol::trained_by(plan, layout);
    if (!trained.ok()) continue;  // the model has nothing of that kind
    Candidate candidate{std::string(plan), protocol::UpdateLayout(*trained, layout).floats()};
    SHOAL_TRY_ASSIGN(candidate.least, least_memory(graph, *trained, wanted, batch));
    Result<Fitted> fitted = fit(graph, *trained, wanted, batch, budget);
    if (fitted.ok()) {
      SHOAL_TRY_ASSIGN(const double seconds, times.step_seconds(*fitted, values, batch));
      candidate.fit = {fitted->way, fitted->program->plan().bytes, seconds};
    } else if (fitted.error().code() != ErrorCode::kExhausted) {
      return std::move(fitted).error();
    }
    found.push_back(std::move(candidate));
  }
  std::ranges::stable_sort(found, std::greater(), &Candidate::floats);
  return found;
}

}  // namespace shoal::client::training::engine
