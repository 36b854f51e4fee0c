// A play, trained by its speakers.
#include <gtest/gtest.h>

#include <fstream>

#include "tests/simulator/temporary_folder.h"
#include "tests/simulator/world_support.h"

namespace shoal::simulator {
namespace {

TEST(Text, OfAPlayIsTrainedBySpeakersAndOnlyTheBranchesAreSent) {
  const TemporaryFolder folder;
  {
    std::ofstream play(folder / "play.txt");
    for (int speech = 0; speech < 8; ++speech)
      for (const char* name : {"ANN", "BOB", "First Fish"})
        play << name << ":\nWe keep together, " << name << ", without swimming in step.\n\n";
  }
  ExperimentOptions options = small_experiment(TrainingKind::kEngine);
  options.population.devices = 0;
  options.data.source = folder / "play.txt";
  options.data.window = 12;
  options.data.window_step = 4;
  options.data.partition = {.kind = client::data::PartitionKind::kNatural, .clients = 0};
  options.model = "char-transformer-lora4";
  options.job.rounds = 6;
  options.job.fedavg.cohort = 3;
  options.job.training.optimizer = protocol::LocalOptimizerKind::kAdam;
  options.job.training.learning_rate = 5e-3;
  options.job.training.plan = "lora-b";
  Simulation play(options);
  EXPECT_EQ(play.world.population->size(), 3u);
  EXPECT_LT(10 * play.world.learning->update_bytes("lora-b"), sizeof(float) * play.world.task->layout.total());
  play.begin().run();
  ASSERT_TRUE(play.engine.ended());
  EXPECT_EQ(play.engine.ended()->status, coordinator::JobStatus::kCompleted);
  EXPECT_EQ(play.recorder.records.back().received, 3u);
  EXPECT_LT(play.recorder.records.back().train_loss, 0.8 * play.recorder.records.front().train_loss);
}

}  // namespace
}  // namespace shoal::simulator
