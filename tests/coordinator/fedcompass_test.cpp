#include "coordinator/fedcompass.h"

#include <gtest/gtest.h>

#include <chrono>

#include "tests/coordinator/fedcompass_twin.h"
#include "tests/coordinator/policy_world.h"

namespace shoal::coordinator {
namespace {

struct Cell {
  std::uint32_t devices;
  SpeedKind speeds;
};
// The cells of the published comparison, and m = 20.
constexpr Cell kCells[] = {{5, SpeedKind::kHomogeneous}, {5, SpeedKind::kNormal},       {5, SpeedKind::kExponential},
                           {10, SpeedKind::kNormal},     {10, SpeedKind::kExponential}, {20, SpeedKind::kNormal}};

Time at(double seconds) { return Time(from_seconds(seconds)); }

JobSpec compass(std::uint32_t devices) {
  JobSpec spec;
  spec.policy = PolicyKind::kFedCompass;
  spec.fedcompass.devices = devices;
  return spec;
}

FedCompassTwin::Work jittered(std::vector<double> speeds, std::uint64_t seed) {
  return [speeds, seed](std::uint64_t device, std::uint64_t nth, std::uint32_t steps) {
    return std::optional(work_seconds(speeds[device - 1], steps, seed, device, nth));
  };
}

void expect_equal(const Trace& trace, const Trace& twin) {
  for (std::size_t i = 0; i < std::min(trace.size(), twin.size()); ++i)
    ASSERT_TRUE(same(trace[i], twin[i])) << "event " << i << "\n  policy: " << describe(trace[i])
                                         << "\n  twin:   " << describe(twin[i]);
  ASSERT_EQ(trace.size(), twin.size());
}

// Twice everywhere: as it is, and carried through save() and load() before every call.
class FedCompassTest : public testing::TestWithParam<bool> {
 protected:
  PolicyWorld world(const JobSpec& spec, std::vector<double> speeds, FedCompassTwin::Work work,
                    Duration fold_time = {}) {
    return PolicyWorld(
        spec, {.speeds = std::move(speeds), .fold_time = fold_time, .reload = GetParam(), .work = std::move(work)});
  }
  void expect_twin(const JobSpec& spec, const std::vector<double>& speeds, const FedCompassTwin::Work& work,
                   double seconds) {
    PolicyWorld policy = world(spec, speeds, work);
    policy.start();
    policy.run_until(at(seconds));
    expect_equal(policy.trace(), FedCompassTwin(spec.fedcompass, work).run(seconds));
    EXPECT_GT(policy.version(), 0u);
  }
};
INSTANTIATE_TEST_SUITE_P(, FedCompassTest, testing::Bool(),
                         [](const auto& test) { return test.param ? "Reloaded" : "Live"; });

TEST_P(FedCompassTest, EqualsItsTwinEventForEvent) {
  for (const Cell& cell : kCells) {
    for (std::uint64_t seed = 1; seed <= 100; ++seed) {
      SCOPED_TRACE(testing::Message() << cell.devices << " devices, speeds " << static_cast<int>(cell.speeds)
                                      << ", seed " << seed);
      const std::vector<double> speeds = draw_speeds(cell.speeds, cell.devices, seed);
      expect_twin(compass(cell.devices), speeds, jittered(speeds, seed), GetParam() ? 1000 : 4000);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(FedCompassTest, EqualsItsTwinWithOtherOptions) {
  Stream draw(1, "options");
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    JobSpec spec = compass(1 + static_cast<std::uint32_t>(draw.below(12)));
    FedCompassOptions& o = spec.fedcompass;
    o.min_steps = 1 + static_cast<std::uint32_t>(draw.below(50));
    o.max_steps = o.min_steps + static_cast<std::uint32_t>(draw.below(200));
    o.latest_factor = 1 + draw.uniform();
    o.speed_momentum = draw.uniform();
    o.alpha = 0.1 + draw.uniform();
    o.staleness_exponent = draw.uniform() * 2;
    const std::vector<double> speeds = draw_speeds(SpeedKind::kExponential, o.devices, seed);
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    expect_twin(spec, speeds, jittered(speeds, seed), 2000);
    if (HasFatalFailure()) return;
  }
}

// Some assignments take several times as long as they should, and some are never heard of again.
TEST_P(FedCompassTest, EqualsItsTwinWithLateAndDeadDevices) {
  for (const Cell& cell : kCells) {
    for (std::uint64_t seed = 1; seed <= 60; ++seed) {
      const std::vector<double> speeds = draw_speeds(cell.speeds, cell.devices, seed);
      const auto work = [&](std::uint64_t device, std::uint64_t nth, std::uint32_t steps) -> std::optional<double> {
        Stream draw(seed, "fate", device, nth);
        const double luck = draw.uniform();
        if (luck < 0.05) return std::nullopt;
        return work_seconds(speeds[device - 1], steps, seed, device, nth) * (luck < 0.25 ? 1 + 2 * draw.uniform() : 1);
      };
      SCOPED_TRACE(testing::Message() << cell.devices << " devices, speeds " << static_cast<int>(cell.speeds)
                                      << ", seed " << seed);
      expect_twin(compass(cell.devices), speeds, work, 6000);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(FedCompassTest, StartsWhenAllDevicesAreReady) {
  PolicyWorld policy = world(compass(3), {1, 1, 1}, {});
  policy.plan_outage(3, at(5), std::chrono::seconds(5));  // before it is ever there
  EXPECT_TRUE(policy.trace().empty());
  policy.start();
  ASSERT_EQ(policy.trace().size(), 3u);
  for (const TraceEvent& event : policy.trace()) EXPECT_EQ(event.steps, 100u);
}

// Two devices in one group; device 2 then takes three times as long, twice running.
TEST_P(FedCompassTest, ADeviceThatIsLateTwiceLosesNeitherUpdate) {
  const std::vector<double> speeds = {1, 1};
  const auto work = [](std::uint64_t device, std::uint64_t nth, std::uint32_t steps) -> std::optional<double> {
    const double exact = steps * 1.0;
    return device == 2 && (nth == 3 || nth == 4) ? exact * (nth == 3 ? 1.5 : 1.9) : exact;
  };
  PolicyWorld policy = world(compass(2), speeds, work);
  policy.start();
  policy.run_until(at(3000));
  EXPECT_GE(policy.updates()[2], 8u);
  // Each update of device 2 is in a fold, once, with weights that fall with staleness; only what still waits is
  // missing.
  std::uint64_t folded = 0, stale = 0;
  for (const TraceEvent& event : policy.trace())
    for (const TraceEvent::Part& part : event.parts) {
      folded += part.device == 2;
      stale += part.device == 2 && part.weight < 0.9 / 2 * 0.99;
    }
  EXPECT_GE(folded + policy.waiting(), policy.updates()[2]);
  EXPECT_GE(stale, 2u);
  expect_equal(policy.trace(), FedCompassTwin(compass(2).fedcompass, work).run(3000));
}

TEST_P(FedCompassTest, ALateDeviceGetsNewWorkAtOnce) {
  const auto work = [](std::uint64_t device, std::uint64_t nth, std::uint32_t steps) -> std::optional<double> {
    return steps * (device == 2 && nth == 3 ? 1.6 : 1.0);
  };
  PolicyWorld policy = world(compass(2), {1, 1}, work);
  policy.start();
  for (int second = 1; second < 1500; ++second) {
    policy.run_until(at(second + 0.5));
    // Nobody is idle who is not waiting for a group, and a group waits a fifth of its time at the most.
    ASSERT_LE(policy.idle().size(), 1u);
    if (policy.idle().contains(2)) {
      const PolicyWorld& frozen = policy;
      ASSERT_GT(frozen.waiting(), 0u);
    }
  }
}

TEST_P(FedCompassTest, NoGroupWaitsForADeviceThatNeverReturns) {
  const std::vector<double> speeds = {1, 1.1, 0.9};
  const auto work = [&](std::uint64_t device, std::uint64_t nth, std::uint32_t steps) -> std::optional<double> {
    if (device == 3 && nth >= 3) return std::nullopt;
    return work_seconds(speeds[device - 1], steps, 5, device, nth);
  };
  PolicyWorld policy = world(compass(3), speeds, work);
  policy.start();
  policy.plan_outage(3, at(1000), std::nullopt);
  policy.run_until(at(10000));
  const Version before = policy.version();
  EXPECT_GE(policy.updates()[1], 70u);
  EXPECT_GE(policy.updates()[2], 70u);
  policy.run_until(at(11000));
  EXPECT_GE(policy.version(), before + 8);
}

// A device that comes to a running job takes a free place, with most steps and outside of every group.
TEST_P(FedCompassTest, ALostDevicesPlaceIsTakenByAnIdleOne) {
  const std::vector<double> speeds = {1, 1, 1, 1};
  const auto work = [](std::uint64_t, std::uint64_t, std::uint32_t steps) -> std::optional<double> {
    return steps * 1.0;
  };
  PolicyWorld policy = world(compass(3), speeds, work);
  policy.start();
  EXPECT_EQ(policy.idle(), std::set<std::uint64_t>{4}) << "three places, four devices";
  policy.plan_outage(2, at(450), std::nullopt);
  policy.run_until(at(450));
  const TraceEvent& last = policy.trace().back();
  EXPECT_EQ(last.device, 4u);
  EXPECT_EQ(last.steps, 100u);
  policy.run_until(at(3000));
  EXPECT_EQ(policy.updates()[2], 4u);
  EXPECT_GE(policy.updates()[4], 20u);
}

// Three places. Device 3 is late within bounds, so that 1 and 2 wait for it from 300 s to 315 s.
TEST_P(FedCompassTest, AWaitingDeviceThatOtherWorkTakesGivesUpItsPlaceAndNotItsUpdate) {
  const auto work = [](std::uint64_t device, std::uint64_t nth, std::uint32_t) -> std::optional<double> {
    return device == 3 && nth == 3 ? 115 : 100;
  };
  for (const bool spare : {true, false}) {
    PolicyWorld policy = world(compass(3), std::vector<double>(spare ? 4 : 3, 1.0), work);
    policy.start();
    policy.plan_errand(1, at(305), std::chrono::seconds(3));
    policy.run_until(at(306));
    ASSERT_GE(policy.trace().size(), 2u);
    if (spare) {
      EXPECT_EQ(policy.trace().back().device, 4u) << "the place is taken at once";
      EXPECT_EQ(policy.trace().back().at, at(305));
    }
    policy.run_until(at(309));
    if (!spare) {
      EXPECT_EQ(policy.trace().back().device, 1u) << "it is back, and the place is free";
      EXPECT_EQ(policy.trace().back().at, at(308));
    }
    EXPECT_EQ(policy.idle().size(), spare ? 2u : 1u);
    policy.run_until(at(316));
    for (const TraceEvent& event : policy.trace())
      if (event.at > at(310) && !event.parts.empty()) {
        EXPECT_EQ(event.parts.size(), 3u) << "its update is folded with its group's";
      }
    EXPECT_EQ(policy.waiting(), 0u);
    policy.run_until(at(5000));
    if (HasFatalFailure()) return;
    EXPECT_GE(policy.updates()[spare ? 4 : 1], 40u);
    EXPECT_GE(policy.updates()[2], 40u);
    EXPECT_GE(policy.updates()[3], 40u);
  }
}

// Folds that take a while, devices that come and go: PolicyWorld checks every decision, and nobody starves.
TEST_P(FedCompassTest, KeepsGoingWhenFoldsAreSlowAndDevicesComeAndGo) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Stream draw(seed, "outages");
    constexpr std::uint32_t kPlaces = 6, kDevices = 9;
    const std::vector<double> speeds = draw_speeds(SpeedKind::kNormal, kDevices, seed);
    PolicyWorld policy = world(compass(kPlaces), speeds, jittered(speeds, seed), from_seconds(draw.exponential() * 30));
    policy.start();
    for (std::uint64_t device = 1; device <= kDevices; ++device)
      for (double t = 500 * draw.exponential(); t < 20000; t += 400 + 2000 * draw.exponential())
        policy.plan_outage(device, at(t), from_seconds(300 * draw.uniform()));
    policy.run_until(at(20000));
    if (HasFatalFailure()) return;
    const Version before = policy.version();
    policy.run_until(at(22000));
    EXPECT_GT(policy.version(), before + 5);
    for (std::uint64_t device = 1; device <= kDevices; ++device)
      EXPECT_GE(policy.updates()[device], 5u) << "device " << device;
    // An idle device waits for a fold, or for a place.
    EXPECT_LE(policy.waiting(), 2 * kPlaces);
  }
}

TEST(FedCompass, KeepsDevicesBusyInEveryCell) {
  for (const Cell& cell : kCells) {
    double utilisation = 0, staleness = 0, fold = 0, least = 1;
    constexpr int kSeeds = 10;
    for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
      PolicyWorld world(compass(cell.devices),
                        {.speeds = draw_speeds(cell.speeds, cell.devices, seed), .seed = seed, .work = {}});
      world.start();
      world.run_until(at(20000));
      utilisation += world.utilisation() / kSeeds;
      staleness += world.mean_staleness() / kSeeds;
      fold += world.mean_fold() / kSeeds;
      least = std::min(least, world.utilisation());
    }
    std::printf("%2u devices, speeds %d: utilisation %.4f (least %.4f), staleness %.3f, updates a fold %.2f\n",
                cell.devices, static_cast<int>(cell.speeds), utilisation, least, staleness, fold);
    EXPECT_GE(utilisation, 0.97);
    EXPECT_LE(staleness, cell.speeds == SpeedKind::kExponential ? 5 : 0.25);
  }
}

// The loss that semi-asynchrony avoids. A synchronous round lasts as long as its slowest device, so of T seconds device
// i works T t_i / max t: the utilisation, steps made over the steps sum_i T / t_i that were possible, is m / (max t *
// sum 1 / t_i) in the limit of long runs, and its mean over draws of the speeds is the figure compared.
TEST(FedCompass, FedAvgWaitsForItsSlowestDevice) {
  const std::tuple<std::uint32_t, SpeedKind, double> expected[] = {
      {5, SpeedKind::kNormal, 0.686}, {10, SpeedKind::kNormal, 0.621}, {5, SpeedKind::kExponential, 0.216}};
  for (const auto& [devices, kind, figure] : expected) {
    JobSpec spec;
    spec.policy = PolicyKind::kFedAvg;
    spec.fedavg.cohort = devices;
    spec.fedavg.deadline = std::chrono::hours(1000);
    double mean = 0;
    constexpr int kSeeds = 400;
    for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
      PolicyWorld world(spec, {.speeds = draw_speeds(kind, devices, seed), .seed = seed, .work = {}});
      world.start();
      world.run_until(at(20000));
      mean += world.utilisation() / kSeeds;
    }
    std::printf("FedAvg, %u devices, speeds %d: utilisation %.4f, expected %.3f\n", devices, static_cast<int>(kind),
                mean, figure);
    EXPECT_NEAR(mean / figure, 1, 0.03);
  }
}

}  // namespace
}  // namespace shoal::coordinator
