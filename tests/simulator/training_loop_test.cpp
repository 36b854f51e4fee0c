// The simulator's learning curve is that of a plain training loop on the same draws, with the real trainer.
#include <gtest/gtest.h>

#include <numeric>

#include "aggregation/exact_sum.h"
#include "aggregation/server_optimizer.h"
#include "base/rng.h"
#include "client/training/model_description.h"
#include "tests/simulator/world_support.h"

namespace shoal::simulator {
namespace {

namespace training = client::training;

constexpr char kPlugins[] = SHOAL_BINARY_DIR "/lib";

ExperimentOptions glyphs() {
  ExperimentOptions options = small_experiment(TrainingKind::kTorch);
  options.population.devices = 12;
  options.data.source = "procedural:3:12:40";
  options.data.partition.kind = client::data::PartitionKind::kNatural;
  options.job.rounds = 6;
  options.job.fedavg.cohort = 4;
  options.job.training.learning_rate = 0.05;
  return options;
}

std::unique_ptr<training::Trainer> trainer_of(const LearningTask& task) {
  const auto text = task.metadata.at(std::string(training::kModelMetadataKey));
  auto trainer = training::make_torch_trainer(training::parse_description(text).value(), kPlugins);
  return trainer.ok() ? *std::move(trainer) : nullptr;
}

// What anybody would write without devices, network or coordinator.
std::vector<protocol::EvaluationFacts> plain_loop(const ExperimentOptions& options, const LearningTask& task,
                                                  training::Trainer& trainer) {
  const coordinator::JobSpec& job = options.job;
  const auto scale =
      aggregation::SumScale::make(coordinator::max_weight(job), job.limits.update_bound, coordinator::max_updates(job))
          .value();
  std::vector<float> model = task.initial, delta(model.size()), mean(model.size());
  std::vector<std::uint32_t> test_rows(task.test.rows());
  std::iota(test_rows.begin(), test_rows.end(), 0u);
  std::vector<protocol::EvaluationFacts> curve;
  for (std::uint64_t round = 1; round <= job.rounds; ++round) {
    std::vector<std::int64_t> sum(model.size());
    double samples = 0;
    for (std::uint64_t index : Stream(job.seed, "cohort", round).sample(task.devices.size(), job.fedavg.cohort)) {
      const auto& rows = task.devices[index].train;
      const std::uint64_t seed = derive_seed(job.seed, "train", index + 1, round - 1);
      const auto outcome = trainer.train(model, task.train, rows, job.training, 0, seed, delta, {});
      EXPECT_TRUE(outcome.ok());
      aggregation::accumulate(delta, aggregation::Weight::nearest(static_cast<double>(rows.size())), scale, sum);
      samples += static_cast<double>(rows.size());
    }
    aggregation::report(sum, scale, 1 / samples, mean);
    for (std::size_t i = 0; i < model.size(); ++i) model[i] += mean[i];
    curve.push_back(trainer.evaluate(model, task.test, test_rows).value());
  }
  return curve;
}

TEST(TrainingLoop, GivesTheSimulatorsCurveToTheLastBit) {
  const ExperimentOptions options = glyphs();
  const LearningTask task = make_task(options).value();
  const auto trainer = trainer_of(task);
  if (trainer == nullptr) GTEST_SKIP() << "the LibTorch trainer was not built";
  Simulation simulation(options);
  simulation.begin().run();
  const auto curve = plain_loop(options, task, *trainer);
  ASSERT_EQ(simulation.recorder.records.size(), curve.size());
  for (std::size_t r = 0; r < curve.size(); ++r) {
    const auto& simulated = simulation.recorder.records[r].test;
    ASSERT_TRUE(simulated);
    EXPECT_EQ(simulated->samples, curve[r].samples);
    EXPECT_EQ(simulated->correct, curve[r].correct) << "round " << r + 1;
    EXPECT_EQ(simulated->loss_sum, curve[r].loss_sum) << "round " << r + 1;
  }
  EXPECT_GT(curve.back().correct, curve.front().correct);
}

TEST(TrainingLoop, RealTrainingHasTheSameBitsForAnyNumberOfWorkers) {
  ExperimentOptions options = glyphs();
  if (trainer_of(make_task(options).value()) == nullptr) GTEST_SKIP() << "the LibTorch trainer was not built";
  const auto one = Simulation(options).begin().run().recorder.lines();
  options.workers = 2;
  EXPECT_EQ(Simulation(options).begin().run().recorder.lines(), one);
}

}  // namespace
}  // namespace shoal::simulator
