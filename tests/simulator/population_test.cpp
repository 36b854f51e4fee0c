#include "simulator/population.h"

#include <gtest/gtest.h>

#include <cmath>

#include "simulator/device.h"
#include "simulator/event_queue.h"

namespace shoal::simulator {
namespace {

class EveryDistribution : public ::testing::TestWithParam<DistributionKind> {};
INSTANTIATE_TEST_SUITE_P(Kinds, EveryDistribution,
                         ::testing::Values(DistributionKind::kHomogeneous, DistributionKind::kNormal,
                                           DistributionKind::kLognormal, DistributionKind::kExponential),
                         [](const auto& kind) { return std::string(name_of(kind.param)); });

TEST_P(EveryDistribution, HasItsMeanAndIsPositive) {
  const Distribution distribution{GetParam(), 40, 0.3};
  Stream stream(1, "test");
  double sum = 0;
  constexpr int kDraws = 200'000;
  for (int i = 0; i < kDraws; ++i) {
    const double value = distribution.draw(stream);
    ASSERT_GT(value, 0);
    sum += value;
  }
  EXPECT_NEAR(sum / kDraws, 40, 0.4);
}

TEST(Population, ADeviceIsTheSameWheneverItIsAsked) {
  PopulationOptions options;
  options.devices = 10;
  options.step_seconds.kind = DistributionKind::kLognormal;
  const Population population(options, 3), again(options, 3), other(options, 4);
  const double speed = population.profile(DeviceId{4}).step_seconds;
  EXPECT_EQ(population.profile(DeviceId{4}).step_seconds, speed);
  EXPECT_EQ(again.profile(DeviceId{4}).step_seconds, speed);
  EXPECT_NE(other.profile(DeviceId{4}).step_seconds, speed);
  EXPECT_NE(population.profile(DeviceId{5}).step_seconds, speed);
}

TEST(Population, JitterIsThatOfIndependentSteps) {
  PopulationOptions options;
  options.devices = 1;
  options.step_seconds.mean = 1;
  options.jitter = 0.5;
  const Population population(options, 1);
  const DeviceProfile profile = population.profile(DeviceId{1});
  double sum = 0, squares = 0;
  constexpr int kDraws = 20'000, kSteps = 100;
  for (int i = 1; i <= kDraws; ++i) {
    const double t = to_seconds(population.compute_time(profile, kSteps, AssignmentId{static_cast<std::uint64_t>(i)}));
    sum += t;
    squares += t * t;
  }
  const double mean = sum / kDraws;
  EXPECT_NEAR(mean, 100, 0.2);
  EXPECT_NEAR(std::sqrt(squares / kDraws - mean * mean), 5, 0.2);  // 0.5 * sqrt(100)
}

TEST(Population, TheShareThatBeginsOnlineFollowsThePeriods) {
  PopulationOptions options;
  options.devices = 10'000;
  options.availability.online.mean = 30;
  options.availability.offline.mean = 10;
  const Population population(options, 1);
  int online = 0;
  for (std::uint64_t d = 1; d <= 10'000; ++d) online += population.beginning(DeviceId{d}).online;
  EXPECT_NEAR(online, 7500, 150);
}

TEST(Population, TransfersTakeLatencyAndBytesOverRate) {
  EXPECT_EQ(transfer_time(1'000'000, 500'000, 0.25), std::chrono::milliseconds(2250));
  EXPECT_EQ(transfer_time(1'000'000, 0, 0.25), std::chrono::milliseconds(250));
}

class OneDevice : public ::testing::Test {
 protected:
  // 1 s of download, 2 s of compute, 4 s of upload.
  Work work(double drop_out = 0) {
    options_.devices = 1;
    options_.jitter = 0;
    options_.step_seconds.mean = 1;
    options_.download.mean = 100;
    options_.upload.mean = 25;
    options_.latency.mean = 0;
    options_.availability.drop_out = drop_out;
    population_.emplace(options_, 1);
    protocol::Assignment assignment;
    assignment.id = AssignmentId{1};
    return Work(*population_, DeviceId{1}, assignment, 2, {100, 100}, at(10), 0);
  }
  static Time at(double seconds) { return Time(from_seconds(seconds)); }

  PopulationOptions options_;
  std::optional<Population> population_;
};

TEST_F(OneDevice, DownloadsTrainsAndUploads) {
  const Work w = work();
  EXPECT_EQ(w.next(), at(17));
  EXPECT_FALSE(w.vanishes());
  EXPECT_EQ(w.traffic(at(10.5)).down, 50u);
  EXPECT_EQ(w.traffic(at(12)).down, 100u);
  EXPECT_EQ(w.traffic(at(12)).up, 0u);
  EXPECT_DOUBLE_EQ(w.steps_made(at(12)), 1);
  EXPECT_EQ(w.traffic(at(14)).up, 25u);
  EXPECT_EQ(w.traffic(at(99)).up, 100u);
}

TEST_F(OneDevice, StandsStillWhileItIsOffline) {
  Work w = work();
  w.pause(at(12));
  EXPECT_DOUBLE_EQ(w.steps_made(at(15)), 1);
  w.resume(at(20));
  EXPECT_EQ(w.next(), at(25));
  EXPECT_DOUBLE_EQ(w.steps_made(at(20)), 1);
}

TEST_F(OneDevice, VanishesBeforeItDelivers) {
  const Work w = work(1);
  EXPECT_TRUE(w.vanishes());
  EXPECT_GE(w.next(), at(10));
  EXPECT_LT(w.next(), at(17));
}

TEST(LocalSteps, AreThePolicysOrTheEpochs) {
  protocol::Assignment assignment;
  assignment.training.epochs = 3;
  assignment.training.batch_size = 10;
  EXPECT_EQ(local_steps(assignment, 41), 15u);
  assignment.steps = 7;
  EXPECT_EQ(local_steps(assignment, 41), 7u);
  assignment.kind = protocol::TaskKind::kEvaluate;
  EXPECT_EQ(local_steps(assignment, 41), 0u);
}

TEST(EventQueue, KeepsTimeAndTheOrderOfEntry) {
  EventQueue queue;
  for (std::uint64_t d = 1; d <= 100; ++d) queue.push({.at = Time(std::chrono::seconds(d % 7)), .device = DeviceId{d}});
  Time last{};
  std::uint64_t before = 0;
  while (!queue.empty()) {
    const Occurrence o = queue.pop();
    EXPECT_GE(o.at, last);
    if (o.at == last) {
      EXPECT_GT(o.device.value, before);
    }
    last = o.at;
    before = o.device.value;
  }
}

}  // namespace
}  // namespace shoal::simulator
