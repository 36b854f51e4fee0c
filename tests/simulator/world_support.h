// Small worlds for the simulator's tests: options, a recording observer and runs to the end.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "simulator/engine.h"
#include "simulator/run_folder.h"
#include "simulator/world.h"

namespace shoal::simulator {

class Recorder final : public Observer {
 public:
  Status on_round(const RoundRecord& record) override {
    records.push_back(record);
    return {};
  }
  void on_opened(Time, const coordinator::action::RoundOpened& round) override { sampled += round.sampled; }
  void on_abandoned(Time, const coordinator::action::RoundClosed&) override { ++abandoned; }

  // The metrics as they would be written.
  std::vector<std::string> lines() const {
    std::vector<std::string> all;
    for (const RoundRecord& record : records) all.push_back(to_json(record));
    return all;
  }

  std::vector<RoundRecord> records;
  std::uint64_t sampled = 0, abandoned = 0;
};

inline ExperimentOptions small_experiment(TrainingKind training) {
  ExperimentOptions options;
  options.training = training;
  options.model = "logistic";
  options.workers = 1;
  options.job.seed = 7;
  options.job.rounds = 20;
  options.job.fedavg.cohort = 5;
  options.job.fedcompass.devices = 8;
  options.job.fedbuff.concurrency = 6;
  options.job.fedbuff.buffer = 3;
  options.population.devices = 20;
  options.population.samples.mean = 50;
  options.population.step_seconds = {DistributionKind::kExponential, 0.1, 0};
  options.population.upload = {DistributionKind::kLognormal, 1e5, 0.5};
  return options;
}

// A world, its engine and what the engine told.
struct Simulation {
  explicit Simulation(const ExperimentOptions& options)
      : world(make_world(options, SHOAL_BINARY_DIR "/lib").value()),
        engine({world.job, options.evaluate_every}, *world.population, *world.learning, recorder) {}

  // To the end of the job, or `turns` turns.
  Simulation& run(std::uint64_t turns = 10'000'000) {
    for (; turns > 0 && !engine.ended(); --turns) {
      const Status status = engine.turn();
      EXPECT_TRUE(status.ok()) << (status.ok() ? "" : status.error().to_string());
      if (!status.ok()) break;
      if (turns % 64 == 0) {
        EXPECT_THAT(engine.machine().broken_invariants(), ::testing::IsEmpty());
      }
    }
    return *this;
  }
  Simulation& begin() {
    EXPECT_TRUE(engine.begin().ok());
    return *this;
  }

  World world;
  Recorder recorder;
  Engine engine;
};

}  // namespace shoal::simulator
