// Devices with budgets, training for real: everybody takes part with what he has memory for.
#include <gtest/gtest.h>

#include "protocol/plan_table.h"
#include "tests/simulator/world_support.h"

namespace shoal::simulator {
namespace {

ExperimentOptions mixed_fleet() {
  ExperimentOptions options = small_experiment(TrainingKind::kEngine);
  options.model = "resnet8-gn";
  options.population.devices = 12;
  options.data.source = "procedural:3:12:40";
  options.data.partition.kind = client::data::PartitionKind::kNatural;
  options.job.rounds = 4;
  options.job.fedavg.cohort = 6;
  options.job.training.learning_rate = 0.05;
  options.job.training.plan = "full, bias, head";
  options.population.budgets = "4MB, 800KB, 500KB";
  return options;
}

TEST(Budget, EveryClassOfDeviceTakesPartAndOnlyWhatWasTrainedIsSent) {
  Simulation mixed(mixed_fleet());
  const auto table = protocol::parse_plan_table(mixed.world.job.training.plan).value();
  ASSERT_EQ(table.size(), 3u);
  for (std::size_t plan = 0; plan < 3; ++plan) {
    EXPECT_EQ(protocol::plan_for(table, mixed.world.population->budget(DeviceId{plan + 1})), plan)
        << mixed.world.job.training.plan;
    EXPECT_LT(plan == 0 ? 0 : mixed.world.learning->update_bytes(table[plan].plan),
              mixed.world.learning->update_bytes(table[plan == 0 ? 0 : plan - 1].plan));
  }
  mixed.begin().run();
  ASSERT_TRUE(mixed.engine.ended());
  EXPECT_EQ(mixed.engine.ended()->status, coordinator::JobStatus::kCompleted);
  for (const RoundRecord& record : mixed.recorder.records) {
    EXPECT_EQ(record.received, 6u);
    EXPECT_EQ(record.failed, 0u) << "nobody needed more than his budget";
  }
  ExperimentOptions all_full = mixed_fleet();
  all_full.population.budgets.clear();
  Simulation full(all_full);
  full.begin().run();
  EXPECT_LT(mixed.recorder.records.back().total.up, 0.8 * static_cast<double>(full.recorder.records.back().total.up));
}

TEST(Budget, TheBitsDoNotDependOnWorkersOrOnAResume) {
  ExperimentOptions options = mixed_fleet();
  Simulation whole(options);
  whole.begin().run();
  options.workers = 3;
  Simulation before(options);
  before.begin().run(20);
  Encoder encoder;
  before.engine.save(encoder);
  Simulation after(options);
  Decoder decoder(encoder.bytes());
  ASSERT_TRUE(after.engine.load(decoder).ok());
  after.run();
  EXPECT_EQ(after.recorder.lines().back(), whole.recorder.lines().back());
}

TEST(Budget, TooLittleForEveryPlanLeavesDevicesOut) {
  ExperimentOptions options = mixed_fleet();
  options.population.budgets = "4MB, 300KB";
  Simulation simulation(options);
  simulation.begin().run();
  ASSERT_TRUE(simulation.engine.ended());
  EXPECT_EQ(simulation.engine.ended()->status, coordinator::JobStatus::kCompleted);
  EXPECT_EQ(simulation.recorder.records.front().received, 6u);
  EXPECT_EQ(simulation.recorder.records.front().failed, 0u);
}

// Of MobileNetV2 with lite residual branches what is sent is the branches, the shifts and the classifier.
TEST(Budget, UploadsHoldTrainedTensorsOnly) {
  ExperimentOptions options = mixed_fleet();
  options.model = "mobilenetv2-0.25-lite";
  options.population.budgets.clear();
  options.job.rounds = 1;
  options.job.training.plan = "lite+bias";
  Simulation simulation(options);
  simulation.begin().run();
  const RoundRecord& last = simulation.recorder.records.back();
  EXPECT_EQ(last.total.up, 6 * simulation.world.learning->update_bytes("lite+bias"));
  EXPECT_LT(static_cast<double>(last.total.up), 0.4 * static_cast<double>(last.total.down));
}

TEST(Budget, NonsenseIsRefused) {
  ExperimentOptions options = mixed_fleet();
  for (const char* budgets : {"many", "4MB,", "4MB, , 5MB", "-1MB"}) {
    options.population.budgets = budgets;
    EXPECT_FALSE(check(options).ok()) << budgets;
  }
  options.population.budgets = "4MB";
  EXPECT_TRUE(check(options).ok());
  for (const TrainingKind deaf : {TrainingKind::kTorch, TrainingKind::kSynthetic, TrainingKind::kNone}) {
    options.training = deaf;
    EXPECT_FALSE(check(options).ok()) << name_of(deaf) << " obeys no budget";
  }
}

}  // namespace
}  // namespace shoal::simulator
