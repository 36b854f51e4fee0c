// Devices that fail are asked again later and later.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/coordinator/fleet.h"

namespace shoal::coordinator {
namespace {

using protocol::Refusal;
using testing::Fleet;
using ::testing::IsEmpty;
using testing::spec_of;

constexpr DeviceId kDevice{1};

class BackOff : public ::testing::TestWithParam<PolicyKind> {};

TEST_P(BackOff, ADeviceThatAlwaysFailsIsAskedFewerTimesThanTheTimeHasDoublings) {
  for (const int seconds : {60, 500, 36000}) {
    Fleet fleet({.broken = 1, .until = Time{std::chrono::seconds(seconds)}});
    JobSpec spec = spec_of(GetParam(), 1000000);
    // So that every device is wanted.
    spec.fedavg.cohort = 11;
    spec.fedbuff.concurrency = spec.fedcompass.devices = 12;
    fleet.run(spec, 1u << 20);
    EXPECT_THAT(fleet.problems, IsEmpty());
    const double most = std::log2(std::min(seconds, 512)) + 2 + seconds / 512.0;
    EXPECT_LE(fleet.given[kDevice].size(), most) << "in " << seconds << " s";
    EXPECT_GE(fleet.given[kDevice].size(), 2u) << "it gets another chance";
    EXPECT_GT(fleet.folds.size(), 1u) << "the others go on";
  }
}

INSTANTIATE_TEST_SUITE_P(, BackOff,
                         ::testing::Values(PolicyKind::kFedAvg, PolicyKind::kFedBuff, PolicyKind::kFedCompass),
                         [](const auto& param) { return std::string(name_of(param.param)); });

// One device, one job that always has work for it. The events of the fleet's own are not used.
class OneDevice : public ::testing::Test {
 protected:
  OneDevice() : fleet({.devices = 1}) { fleet.run(spec_of(PolicyKind::kFedBuff, 1000), 0); }

  std::optional<AssignmentId> work() {
    const auto open = fleet.machine.assignment_of(kDevice, fleet.now());
    return open ? std::optional(open->id) : std::nullopt;
  }
  void fail() { fleet.step(event::AssignmentFailed{kDevice, work().value(), {}, "no"}); }
  void deliver() {
    protocol::UpdateFacts facts;
    facts.digest.bytes[0] = 1;
    facts.samples = facts.steps = 1;
    fleet.step(event::UpdateReceived{kDevice, work().value(), facts});
  }
  // Until there is work again, by the machine's own timers.
  Duration pause() {
    const Time since = fleet.now();
    while (!work()) {
      fleet.wait(fleet.machine.next_timer() - fleet.now());
      fleet.step(event::Tick{});
    }
    return fleet.now() - since;
  }

  Fleet fleet;
};

TEST_F(OneDevice, PausesTwiceAsLongAfterEachFailureUpToEightMinutes) {
  Duration expected = std::chrono::seconds(1);
  for (int i = 0; i < 14; ++i) {
    fail();
    EXPECT_FALSE(work());
    EXPECT_EQ(pause(), std::min<Duration>(expected, std::chrono::seconds(512)));
    expected *= 2;
  }
  EXPECT_THAT(fleet.problems, IsEmpty());
}

TEST_F(OneDevice, AnAcceptedUpdateEndsTheSeries) {
  for (int i = 0; i < 5; ++i) {
    fail();
    pause();
  }
  deliver();
  EXPECT_TRUE(work()) << "no pause after an update";
  fail();
  EXPECT_EQ(pause(), std::chrono::seconds(1));
}

TEST_F(OneDevice, ComingBackDoesNotEndThePause) {
  fail();
  fleet.step(event::DeviceLost{kDevice, false});
  fleet.step(event::DeviceReady{kDevice, {100, 20, 0}});
  EXPECT_FALSE(work());
  EXPECT_EQ(pause(), std::chrono::seconds(1));
  EXPECT_THAT(fleet.problems, IsEmpty());
}

TEST_F(OneDevice, ARefusedUpdateAndAnExpiredLeaseAreFailuresToo) {
  protocol::UpdateFacts impossible;
  fleet.step(event::UpdateReceived{kDevice, work().value(), impossible});
  EXPECT_EQ(pause(), std::chrono::seconds(1));
  const AssignmentId silent = work().value();
  fleet.wait(fleet.machine.next_timer() - fleet.now());
  fleet.step(event::Tick{});
  EXPECT_EQ(fleet.revocations[Refusal::kLeaseExpired], 1);
  EXPECT_FALSE(work());
  EXPECT_EQ(pause(), std::chrono::seconds(2));
  EXPECT_NE(work().value(), silent);
}

TEST_F(OneDevice, APauseSurvivesASnapshot) {
  fail();
  fleet.machine = Machine::load(fleet.machine.save()).value();
  EXPECT_FALSE(work());
  EXPECT_EQ(pause(), std::chrono::seconds(1));
}

}  // namespace
}  // namespace shoal::coordinator
