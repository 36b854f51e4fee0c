// Synchronous rounds in the machine: carried updates, and how many devices a round waits for.
#include "coordinator/fedavg.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/coordinator/fleet.h"

namespace shoal::coordinator {
namespace {

using testing::Fleet;
using ::testing::IsEmpty;
using testing::spec_of;

std::set<std::uint64_t> working(const Fleet& fleet, std::uint64_t devices) {
  std::set<std::uint64_t> ids;
  for (std::uint64_t d = 1; d <= devices; ++d)
    if (fleet.machine.assignment_of(DeviceId{d}, fleet.now())) ids.insert(d);
  return ids;
}

AssignmentId deliver(Fleet& fleet, std::uint64_t device) {
  const AssignmentId id = fleet.machine.assignment_of(DeviceId{device}, fleet.now())->id;
  protocol::UpdateFacts facts;
  facts.digest.bytes[0] = 1;
  facts.samples = facts.steps = 1;
  fleet.step(event::UpdateReceived{DeviceId{device}, id, facts});
  return id;
}

void tick(Fleet& fleet) {
  fleet.wait(fleet.machine.next_timer() - fleet.now());
  fleet.step(event::Tick{});
}

TEST(FedAvg, UpdatesOfAnAbandonedRoundAreFoldedOnceAndTheirDevicesNotAskedAgain) {
  for (const bool reload : {false, true}) {
    JobSpec spec = spec_of(PolicyKind::kFedAvg, 2);
    spec.fedavg.cohort = 4;
    spec.fedavg.min_fraction = 1;
    spec.fedavg.deadline = std::chrono::minutes(1);
    Fleet fleet({.devices = 6, .reload = reload});
    fleet.run(spec, 0);
    const std::set<std::uint64_t> first = working(fleet, 6);
    ASSERT_EQ(first.size(), 4u);
    std::set<AssignmentId> carried{deliver(fleet, *first.begin()), deliver(fleet, *std::next(first.begin()))};
    while (fleet.closed.empty()) tick(fleet);
    EXPECT_EQ(fleet.closed[0].version, 0u) << "abandoned";
    EXPECT_EQ(fleet.closed[0].received, 2u);

    while (fleet.opened.size() < 2) tick(fleet);
    const std::set<std::uint64_t> second = working(fleet, 6);
    EXPECT_EQ(second.size(), 2u) << "two are here already";
    EXPECT_FALSE(second.contains(*first.begin()));
    EXPECT_FALSE(second.contains(*std::next(first.begin())));
    std::set<AssignmentId> expected = carried;
    for (std::uint64_t device : second) expected.insert(deliver(fleet, device));
    ASSERT_EQ(fleet.folds.size(), 1u);
    std::set<AssignmentId> folded;
    for (const auto& entry : fleet.folds[0].entries) folded.insert(entry.assignment);
    EXPECT_EQ(folded, expected);
    fleet.step(event::Committed{JobId{1}, 1, {}, 1});
    EXPECT_EQ(working(fleet, 6).size(), 4u) << "with a new version everybody may be asked";
    for (std::uint64_t device : working(fleet, 6)) deliver(fleet, device);
    fleet.step(event::Committed{JobId{1}, 2, {}, 1});
    EXPECT_TRUE(fleet.ended);
    for (const AssignmentId id : carried) EXPECT_EQ(fleet.folded[id], 1);
    EXPECT_THAT(fleet.problems, IsEmpty());
  }
}

TEST(FedAvg, AReplacementIsNotADeviceThatHasDeliveredAlready) {
  JobSpec spec = spec_of(PolicyKind::kFedAvg, 2);
  spec.fedavg.cohort = 4;
  Fleet fleet({.devices = 5});
  fleet.run(spec, 0);
  const std::set<std::uint64_t> first = working(fleet, 5);
  for (int i = 0; i < 2; ++i) deliver(fleet, *std::next(first.begin(), i));
  const std::uint64_t last = *first.rbegin();
  const AssignmentId failed = fleet.machine.assignment_of(DeviceId{last}, fleet.now())->id;
  fleet.step(event::AssignmentFailed{DeviceId{last}, failed, {}, "no"});
  std::set<std::uint64_t> expected{*std::next(first.begin(), 2)};
  for (std::uint64_t d = 1; d <= 5; ++d)
    if (!first.contains(d)) expected.insert(d);
  EXPECT_EQ(working(fleet, 5), expected);
}

TEST(FedAvg, WaitsForItsWholeCohortAndSaysSo) {
  JobSpec spec = spec_of(PolicyKind::kFedAvg, 2);
  spec.fedavg.cohort = 10;
  Fleet fleet({.devices = 4});
  fleet.run(spec, 0);
  EXPECT_THAT(fleet.assigned, IsEmpty());
  EXPECT_EQ(fleet.machine.job(JobId{1})->devices_wanted, 10u);
  EXPECT_EQ(fleet.machine.job(JobId{1})->devices_idle, 4u);
  for (std::uint64_t d = 5; d <= 10; ++d) fleet.step(event::DeviceReady{DeviceId{d}, {100, 20, 0}});
  EXPECT_EQ(fleet.assigned.size(), 10u);
  EXPECT_EQ(fleet.machine.job(JobId{1})->devices_wanted, 0u);
}

TEST(FedAvg, ARoundTakesWhatThereIsOnceMinDevicesAreIdle) {
  JobSpec spec = spec_of(PolicyKind::kFedAvg, 6);
  spec.fedavg.cohort = 10;
  spec.fedavg.min_devices = 3;
  Fleet few({.devices = 2});
  few.run(spec, 0);
  EXPECT_EQ(few.machine.job(JobId{1})->devices_wanted, 3u);
  EXPECT_EQ(few.machine.job(JobId{1})->devices_idle, 2u);

  Fleet fleet({.devices = 4});
  fleet.run(spec);
  ASSERT_TRUE(fleet.ended);
  EXPECT_EQ(fleet.ended->status, JobStatus::kCompleted);
  for (const auto& closed : fleet.closed) EXPECT_EQ(closed.received, 4u) << "nobody else can come";
  EXPECT_THAT(fleet.problems, IsEmpty());
}

TEST(FedAvg, CompletesWithMinDevicesAmongFailingDevices) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    JobSpec spec = spec_of(PolicyKind::kFedAvg, 6);
    spec.fedavg.cohort = 10;
    spec.fedavg.over_selection = 1.3;
    spec.fedavg.min_devices = 4;
    spec.fedavg.min_fraction = 0.9;
    Fleet fleet({.seed = seed, .devices = 5, .fail = 0.3, .vanish = 0.1});
    fleet.run(spec);
    ASSERT_TRUE(fleet.ended) << "seed " << seed;
    EXPECT_THAT(fleet.problems, IsEmpty());
  }
}

TEST(FedAvg, OtherPoliciesSayWhatTheyWaitForToo) {
  Fleet compass({.devices = 3});
  compass.run(spec_of(PolicyKind::kFedCompass), 0);
  EXPECT_EQ(compass.machine.job(JobId{1})->devices_wanted, 5u);
  EXPECT_EQ(compass.machine.job(JobId{1})->devices_idle, 3u);
  Fleet buffered({.devices = 0});
  buffered.run(spec_of(PolicyKind::kFedBuff), 0);
  EXPECT_EQ(buffered.machine.job(JobId{1})->devices_wanted, 1u);
}

}  // namespace
}  // namespace shoal::coordinator
