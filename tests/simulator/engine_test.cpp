#include "simulator/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/simulator/world_support.h"

namespace shoal::simulator {
namespace {

using coordinator::JobStatus;
using coordinator::PolicyKind;
using protocol::Refusal;
using ::testing::Each;
using ::testing::Gt;

std::vector<std::string> lines_of(const ExperimentOptions& options) {
  return Simulation(options).begin().run().recorder.lines();
}

class EveryPolicy : public ::testing::TestWithParam<PolicyKind> {
 protected:
  ExperimentOptions options(TrainingKind training) const {
    ExperimentOptions o = small_experiment(training);
    o.job.policy = GetParam();
    return o;
  }
};
INSTANTIATE_TEST_SUITE_P(Policies, EveryPolicy,
                         ::testing::Values(PolicyKind::kFedAvg, PolicyKind::kFedBuff, PolicyKind::kFedCompass),
                         [](const auto& kind) { return std::string(name_of(kind.param)); });

TEST_P(EveryPolicy, CompletesItsRounds) {
  Simulation simulation(options(TrainingKind::kSynthetic));
  simulation.begin().run();
  ASSERT_TRUE(simulation.engine.ended());
  EXPECT_EQ(simulation.engine.ended()->status, JobStatus::kCompleted);
  ASSERT_EQ(simulation.recorder.records.size(), 20u);
  for (std::size_t i = 0; i < 20; ++i) {
    const RoundRecord& record = simulation.recorder.records[i];
    EXPECT_EQ(record.version, i + 1);
    EXPECT_GT(record.received, 0u);
    EXPECT_GT(record.norm, 0);
    EXPECT_TRUE(i == 0 || record.at >= simulation.recorder.records[i - 1].at);
  }
}

// Updates go on arriving while the last model is evaluated; they make no further version.
TEST_P(EveryPolicy, EndsWithItsLastRoundAlthoughUpdatesStillArrive) {
  ExperimentOptions o = options(TrainingKind::kSynthetic);
  o.data.test_fraction = 0.2;
  o.job.evaluation.every = 5;
  Simulation simulation(o);
  simulation.begin().run();
  ASSERT_TRUE(simulation.engine.ended());
  EXPECT_EQ(simulation.engine.ended()->status, JobStatus::kCompleted);
  EXPECT_EQ(simulation.recorder.records.size(), 20u);
  EXPECT_EQ(simulation.engine.version(), 20u);
}

TEST_P(EveryPolicy, TheSameSeedGivesTheSameBitsForAnyNumberOfWorkers) {
  ExperimentOptions o = options(TrainingKind::kSynthetic);
  const auto one = lines_of(o);
  for (std::uint32_t workers : {1u, 2u, 5u}) {
    o.workers = workers;
    EXPECT_EQ(lines_of(o), one) << workers << " workers";
  }
  o.job.seed = 8;
  EXPECT_NE(lines_of(o), one);
}

TEST_P(EveryPolicy, SurvivesDevicesThatVanishAndComeAndGo) {
  ExperimentOptions o = options(TrainingKind::kSynthetic);
  o.population.availability.drop_out = 0.2;
  o.population.availability.online.mean = 60;
  o.population.availability.offline.mean = 30;
  o.job.fedavg.min_fraction = 0.4;
  o.job.fedavg.over_selection = 1.4;
  const auto first = lines_of(o);
  EXPECT_EQ(first.size(), 20u);
  EXPECT_EQ(lines_of(o), first);
}

// Saved after any number of turns, a run ends with the bits that it would have had.
TEST_P(EveryPolicy, ResumesWithTheSameBits) {
  ExperimentOptions o = options(TrainingKind::kSynthetic);
  o.job.optimizer.name = aggregation::ServerOptimizerKind::kFedAdam;
  o.population.availability.drop_out = 0.1;
  o.population.availability.online.mean = 100;
  o.population.availability.offline.mean = 20;
  const auto whole = lines_of(o);
  for (std::uint64_t turns : {1u, 17u, 50u, 100u}) {
    Simulation before(o);
    before.begin().run(turns);
    Encoder encoder;
    before.engine.save(encoder);

    Simulation after(o);
    Decoder decoder(encoder.bytes());
    const Status loaded = after.engine.load(decoder);
    ASSERT_TRUE(loaded.ok()) << loaded.error().to_string();
    after.run();
    auto lines = before.recorder.lines();
    const auto rest = after.recorder.lines();
    lines.insert(lines.end(), rest.begin(), rest.end());
    EXPECT_EQ(lines, whole) << "saved after " << turns << " turns";
  }
}

TEST(Engine, TheGoldenRunNeverChanges) {
  Simulation simulation(small_experiment(TrainingKind::kSynthetic));
  simulation.begin().run();
  EXPECT_EQ(simulation.recorder.records.back().digest.hex(),
            "7178c2896472283f7158c710b7007a9c5698052e6874f2c1d460f857cce2ad27");
}

TEST(Engine, ADamagedCheckpointIsRefused) {
  const ExperimentOptions o = small_experiment(TrainingKind::kSynthetic);
  Simulation before(o);
  before.begin().run(60);
  Encoder encoder;
  before.engine.save(encoder);
  const std::string bytes = std::move(encoder).take();
  for (std::size_t length : {std::size_t{0}, bytes.size() / 2, bytes.size() - 1}) {
    Simulation after(o);
    Decoder decoder(std::string_view(bytes).substr(0, length));
    EXPECT_FALSE(after.engine.load(decoder).ok()) << length;
  }
}

TEST(Engine, ARoundTakesItsSlowestDevicesTime) {
  ExperimentOptions o = small_experiment(TrainingKind::kNone);
  o.job.rounds = 1;
  o.job.fedavg.cohort = 20;
  o.population.jitter = 0;
  o.population.samples = {DistributionKind::kHomogeneous, 40, 0};
  Simulation simulation(o);
  simulation.begin().run();
  const std::uint64_t bytes = simulation.world.learning->update_bytes("full");
  double slowest = 0;
  for (std::uint64_t d = 1; d <= 20; ++d) {
    const DeviceProfile p = simulation.world.population->profile(DeviceId{d});
    slowest = std::max(slowest, 2 * p.latency + static_cast<double>(bytes) / p.download + 4 * p.step_seconds +
                                    static_cast<double>(bytes) / p.upload);
  }
  ASSERT_EQ(simulation.recorder.records.size(), 1u);
  const RoundRecord& record = simulation.recorder.records[0];
  EXPECT_NEAR(to_seconds(record.at.time_since_epoch()), slowest, 1e-6);
  EXPECT_EQ(record.bytes.up, 20 * bytes);
  EXPECT_EQ(record.bytes.down, 20 * bytes);
  EXPECT_DOUBLE_EQ(record.steps, 80);
}

TEST(Engine, OverSelectedStragglersAreRevokedAndTheirTrafficIsCounted) {
  ExperimentOptions o = small_experiment(TrainingKind::kNone);
  o.job.rounds = 1;
  o.job.fedavg.over_selection = 2;
  Simulation simulation(o);
  simulation.begin().run();
  ASSERT_EQ(simulation.recorder.records.size(), 1u);
  const RoundRecord& record = simulation.recorder.records[0];
  const std::uint64_t bytes = simulation.world.learning->update_bytes("full");
  EXPECT_EQ(simulation.recorder.sampled, 10u);
  EXPECT_EQ(record.received, 5u);
  EXPECT_EQ(record.outstanding, 5u);
  EXPECT_GT(record.bytes.down, 5 * bytes);
  EXPECT_LE(record.bytes.down, 10 * bytes);
  EXPECT_GE(record.bytes.up, 5 * bytes);
  EXPECT_LT(record.bytes.up, 10 * bytes);
}

TEST(Engine, AnUpdateThatArrivesAfterItsDeviceWasAwayIsRefusedAsLate) {
  ExperimentOptions o = small_experiment(TrainingKind::kSynthetic);
  o.job.fedavg.deadline = std::chrono::seconds(30);
  o.job.fedavg.min_fraction = 0.2;
  o.population.availability.online.mean = 20;
  o.population.availability.offline.mean = 40;
  Simulation simulation(o);
  simulation.begin().run();
  std::uint64_t failed = 0;
  for (const RoundRecord& record : simulation.recorder.records) failed += record.failed + record.outstanding;
  EXPECT_GT(failed, 0u);
  EXPECT_EQ(simulation.recorder.records.size(), 20u);
}

TEST(Engine, UpdatesBeyondTheBoundAreRefusedWithTheirReason) {
  ExperimentOptions o = small_experiment(TrainingKind::kSynthetic);
  o.job.limits.update_bound = 0.001;  // the synthetic trainer's reach 0.01
  o.job.rounds = 1;
  o.job.fedavg.deadline = std::chrono::seconds(10);
  Simulation simulation(o);
  simulation.begin();
  for (int i = 0; i < 100 && !simulation.engine.ended(); ++i) ASSERT_TRUE(simulation.engine.turn().ok());
  EXPECT_EQ(simulation.recorder.records.size(), 0u);
  EXPECT_GT(simulation.recorder.abandoned, 0u);
}

TEST(Engine, SaysWhenTheJobCannotGoOn) {
  ExperimentOptions o = small_experiment(TrainingKind::kNone);
  o.job.fedavg.cohort = 50;
  Simulation simulation(o);
  simulation.begin();
  const Status status = simulation.engine.turn();
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.error().message(), ::testing::HasSubstr("more devices than there are"));
}

TEST(Engine, EvaluatesOnDevicesWhenTheJobSaysSo) {
  ExperimentOptions o = small_experiment(TrainingKind::kSynthetic);
  o.job.evaluation.every = 5;
  o.job.evaluation.devices = 4;
  o.data.test_fraction = 0.2;
  Simulation simulation(o);
  simulation.begin().run();
  std::size_t evaluations = 0;
  for (const RoundRecord& record : simulation.recorder.records) evaluations += record.devices.has_value();
  EXPECT_GE(evaluations, 2u);
}

// The policy's own figures (tests/coordinator/fedcompass_test.cpp), reached through machine and simulator: transfers
// take no time, and the mean is over seeds.
TEST(Engine, FedCompassKeepsItsDevicesBusy) {
  for (const DistributionKind speeds : {DistributionKind::kNormal, DistributionKind::kExponential}) {
    double utilisation = 0;
    constexpr int kSeeds = 5;
    for (int seed = 1; seed <= kSeeds; ++seed) {
      ExperimentOptions o = small_experiment(TrainingKind::kNone);
      o.job.policy = PolicyKind::kFedCompass;
      o.job.seed = static_cast<std::uint64_t>(seed);
      o.job.rounds = 1'000'000;
      o.job.fedcompass.devices = o.population.devices = 5;
      o.population.step_seconds = {speeds, 1, 0.3};
      o.population.download.mean = o.population.upload.mean = o.population.latency.mean = 0;
      Simulation simulation(o);
      simulation.begin();
      while (to_seconds(simulation.engine.now().time_since_epoch()) < 20000) ASSERT_TRUE(simulation.engine.turn().ok());
      utilisation += simulation.engine.utilisation() / kSeeds;
    }
    EXPECT_GE(utilisation, 0.97) << name_of(speeds);
  }
}

TEST(Engine, RunsAHundredThousandDevicesWithoutLearning) {
  ExperimentOptions o = small_experiment(TrainingKind::kNone);
  o.population.devices = 100'000;
  o.job.fedavg.cohort = 1000;
  o.job.rounds = 20;
  Simulation simulation(o);
  simulation.begin();
  while (!simulation.engine.ended()) ASSERT_TRUE(simulation.engine.turn().ok());
  EXPECT_EQ(simulation.recorder.records.size(), 20u);
  EXPECT_GE(simulation.engine.events(), 120'000u);
}

}  // namespace
}  // namespace shoal::simulator
