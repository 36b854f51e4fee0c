#include "simulator/world.h"

#include <algorithm>
#include <numeric>
#include <thread>
#include <utility>

#include "client/training/engine/engine_trainer.h"
#include "client/training/engine/planner.h"
#include "client/training/model_description.h"
#include "simulator/no_learning.h"

namespace shoal::simulator {
namespace {

constexpr std::size_t kPrograms = 16;  // of a worker: for classes of devices with budgets of their own

namespace data = client::data;
namespace training = client::training;

// Where there is no data, a device's rows are just a number of examples.
std::vector<data::RowSplit> imagined_rows(const ExperimentOptions& options) {
  const Population population(options.population, options.job.seed);
  std::vector<data::RowSplit> devices(population.size());
  for (std::uint64_t d = 1; d <= devices.size(); ++d) {
    std::vector<std::uint32_t> rows(population.samples(DeviceId{d}));
    std::iota(rows.begin(), rows.end(), 0);
    devices[d - 1] = data::split_rows(rows, options.data.test_fraction, options.job.seed, d);
  }
  return devices;
}

Status deal_out(const ExperimentOptions& options, LearningTask& task) {
  data::PartitionOptions partition = options.data.partition;
  if (options.population.devices > 0) partition.clients = options.population.devices;
  SHOAL_TRY_ASSIGN(const data::Partition rows, data::partition_rows(task.train, partition, options.job.seed));
  for (std::size_t d = 0; d < rows.size(); ++d)
    task.devices.push_back(data::split_rows(rows[d], options.data.test_fraction, options.job.seed, d + 1));
  return {};
}

// Where devices have budgets, they are given plans that fit these.
Status state_budgets(const Population& population, const training::ModelDescription& model, LearningTask& task) {
  for (std::uint64_t d = 1; d <= task.devices.size(); ++d) task.budgets.push_back(population.budget(DeviceId{d}));
  SHOAL_TRY_ASSIGN(const auto plans, protocol::parse_plan_table(task.job.training.plan));
  SHOAL_TRY_ASSIGN(const auto table, training::engine::with_memory(plans, model, task.job.training));
  task.job.training.plan = protocol::to_text(table);
  return {};
}

TrainerFactory trainer_factory(const ExperimentOptions& options, const LearningTask& task,
                               const std::string& plugin_folder) {
  using Made = Result<std::unique_ptr<training::Trainer>>;
  if (options.training == TrainingKind::kSynthetic)
    return [layout = task.layout]() -> Made { return training::make_synthetic_trainer(layout); };
  return [&task, plugin_folder, compiled = options.training == TrainingKind::kEngine]() -> Made {
    auto description = training::parse_description(task.metadata.at(std::string(training::kModelMetadataKey)));
    if (!description.ok()) return std::move(description).error();
    return compiled ? training::engine::make_engine_trainer(*description, {.programs = kPrograms})
                    : training::make_torch_trainer(*description, plugin_folder);
  };
}

}  // namespace

Result<LearningTask> make_task(const ExperimentOptions& options) {
  LearningTask task;
  task.job = options.job;
  training::Shape input{1, 28, 28};
  std::uint32_t classes = 10;
  if (!options.data.source.empty()) {
    SHOAL_TRY_ASSIGN(task.train, data::read_dataset(options.data.source, "train"));
    auto test = data::read_dataset(options.data.source, "test");
    // A set without a test part can still be trained on; anything else that is wrong with it is not passed over.
    if (test.ok()) {
      task.test = *std::move(test);
    } else if (test.error().code() != ErrorCode::kNotFound || options.target_accuracy > 0) {
      return std::move(test).error().because_of_this("cannot read the test set");
    }
    input = task.train.shape;
    classes = task.train.classes;
    SHOAL_TRY(deal_out(options, task));
  } else {
    task.devices = imagined_rows(options);
  }
  SHOAL_TRY_ASSIGN(const training::ModelDescription model,
                   training::make_description(options.model, input, classes, options.standardize));
  SHOAL_TRY_ASSIGN(task.layout, training::layout_of(model));
  task.metadata.emplace(training::kModelMetadataKey, training::to_text(model));
  task.initial.resize(task.layout.total());
  SHOAL_TRY(training::initialise(model, options.job.seed, task.initial));
  if (!options.population.budgets.empty())
    SHOAL_TRY(state_budgets(Population(options.population, options.job.seed), model, task));
  return task;
}

Result<World> make_world(const ExperimentOptions& options, const std::string& plugin_folder) {
  SHOAL_TRY(check(options));
  World world;
  world.job = options.job;
  PopulationOptions population = options.population;
  if (options.training == TrainingKind::kNone) {
    world.population = std::make_unique<Population>(population, options.job.seed);
    world.learning = make_no_learning(*world.population, options.update_size.count);
    return world;
  }
  SHOAL_TRY_ASSIGN(LearningTask task, make_task(options));
  world.job = task.job;
  world.task = std::make_unique<LearningTask>(std::move(task));
  population.devices = static_cast<std::uint32_t>(world.task->devices.size());
  world.population = std::make_unique<Population>(population, options.job.seed);
  const unsigned workers = options.workers > 0 ? options.workers : std::max(1u, std::thread::hardware_concurrency());
  SHOAL_TRY_ASSIGN(world.learning,
                   make_tensor_learning(*world.task, workers, trainer_factory(options, *world.task, plugin_folder)));
  return world;
}

}  // namespace shoal::simulator
