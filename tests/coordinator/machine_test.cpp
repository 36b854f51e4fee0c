#include "coordinator/machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/coordinator/fleet.h"

namespace shoal::coordinator {
namespace {

using protocol::Refusal;
using testing::Fleet;
using testing::FleetOptions;
using ::testing::IsEmpty;
using testing::spec_of;

class EveryPolicy : public ::testing::TestWithParam<std::tuple<PolicyKind, bool>> {};

TEST_P(EveryPolicy, CompletesItsRoundsAndFoldsEachReceiptAtMostOnce) {
  const auto [policy, reload] = GetParam();
  Fleet fleet({.seed = 3, .reload = reload});
  fleet.run(spec_of(policy));
  EXPECT_THAT(fleet.problems, IsEmpty());
  ASSERT_TRUE(fleet.ended.has_value());
  EXPECT_EQ(fleet.ended->status, JobStatus::kCompleted);
  EXPECT_EQ(fleet.machine.job(JobId{1})->version, 20u);
  for (const auto& [id, times] : fleet.folded) {
    EXPECT_EQ(times, 1);
    EXPECT_EQ(fleet.receipts[id], 1);
  }
}

TEST_P(EveryPolicy, SurvivesFailingVanishingAndSlowDevices) {
  const auto [policy, reload] = GetParam();
  for (std::uint64_t seed = 1; seed <= 15; ++seed) {
    Fleet fleet({.seed = seed, .fail = 0.1, .vanish = 0.1, .slow = 0.05, .duplicate = 0.2, .reload = reload});
    fleet.run(spec_of(policy, 10));
    EXPECT_THAT(fleet.problems, IsEmpty()) << "seed " << seed;
    ASSERT_TRUE(fleet.ended.has_value()) << "seed " << seed;
    std::set<std::uint64_t> seeds;
    for (const auto& assignment : fleet.assigned) seeds.insert(assignment.seed);
    EXPECT_EQ(seeds.size(), fleet.assigned.size()) << "the same work was given twice";
    // Whatever got a receipt was folded exactly once, or given up with the job, or never acknowledged.
    for (const auto& [id, times] : fleet.receipts) {
      const int uses = fleet.folded.contains(id) ? fleet.folded.at(id) : 0;
      EXPECT_EQ(uses + static_cast<int>(fleet.discarded.contains(id)),
                fleet.assigned[id.value - 1].kind == protocol::TaskKind::kTrain)
          << "assignment " << id.value;
    }
  }
}

TEST_P(EveryPolicy, GivesTheSameActionsForTheSameEvents) {
  const auto [policy, reload] = GetParam();
  std::set<std::uint64_t> traces;
  for (int i = 0; i < 2; ++i) {
    Fleet fleet({.seed = 8, .fail = 0.05, .vanish = 0.05, .reload = i == 0 ? reload : !reload});
    fleet.run(spec_of(policy));
    traces.insert(fleet.trace);
  }
  EXPECT_EQ(traces.size(), 1u) << "save and load, or a second run, changed an action";
}

std::string name_of_case(const ::testing::TestParamInfo<EveryPolicy::ParamType>& info) {
  return std::string(name_of(std::get<0>(info.param))) + (std::get<1>(info.param) ? "_reloaded" : "");
}
INSTANTIATE_TEST_SUITE_P(Machine, EveryPolicy,
                         ::testing::Combine(::testing::Values(PolicyKind::kFedAvg, PolicyKind::kFedBuff,
                                                              PolicyKind::kFedCompass),
                                            ::testing::Bool()),
                         name_of_case);

TEST(Machine, SamplesTheCohortFromAllIdleDevices) {
  Fleet fleet({.devices = 100});
  fleet.run(spec_of(PolicyKind::kFedAvg, 3));
  ASSERT_EQ(fleet.opened.size(), 3u);
  EXPECT_EQ(fleet.opened[0].sampled, 5u);
  EXPECT_EQ(fleet.opened[0].available, 100u);
  std::set<std::uint64_t> seeds;
  for (const auto& a : fleet.assigned) seeds.insert(a.seed);
  EXPECT_EQ(seeds.size(), fleet.assigned.size()) << "two assignments draw the same batches";
}

TEST(Machine, ClosesARoundWithoutTheStragglersOfAnOverSelection) {
  JobSpec spec = spec_of(PolicyKind::kFedAvg, 10);
  spec.fedavg.over_selection = 1.4;
  Fleet fleet({.devices = 30});
  fleet.run(spec);
  EXPECT_THAT(fleet.problems, IsEmpty());
  for (const auto& opened : fleet.opened) EXPECT_EQ(opened.sampled, 7u);
  for (const auto& closed : fleet.closed) EXPECT_EQ(closed.received, 5u);
  EXPECT_EQ(fleet.revocations[Refusal::kLate], 20) << "two of seven, ten times, were told to stop";
  EXPECT_GT(fleet.refusals[Refusal::kLate], 0) << "and their updates were refused with the reason";
}

TEST(Machine, KeepsLateUpdatesWithinTheirBoundWhenTheJobSaysSo) {
  JobSpec spec = spec_of(PolicyKind::kFedAvg, 30);
  spec.fedavg.over_selection = 1.4;
  spec.fedavg.late = LateRule::kKeep;
  Fleet fleet({.devices = 30});
  fleet.run(spec);
  EXPECT_THAT(fleet.problems, IsEmpty());
  std::size_t late = 0;
  for (const auto& closed : fleet.closed) late += closed.received - 5;
  EXPECT_GT(late, 10u);
  EXPECT_EQ(fleet.refusals[Refusal::kLate], 0);
}

TEST(Machine, RepeatsTheReceiptForTheSameDigestAndRefusesAnotherAsConflict) {
  Fleet fleet({});
  fleet.run(spec_of(PolicyKind::kFedBuff, 2), 0);
  fleet.step(event::DeviceReady{DeviceId{1}, {100, 20, 0}});
  ASSERT_FALSE(fleet.assigned.empty());
  AssignmentId id;
  DeviceId device;
  for (std::uint64_t d = 1; d <= 12 && !id; ++d)
    if (const auto open = fleet.machine.assignment_of(DeviceId{d}, fleet.now())) {
      id = open->id;
      device = DeviceId{d};
    }
  protocol::UpdateFacts facts;
  facts.digest.bytes[5] = 9;
  facts.samples = 10;
  facts.steps = 1;
  const auto answer = [&](const protocol::UpdateFacts& f, DeviceId from) {
    for (const Action& action : fleet.step(event::UpdateReceived{from, id, f}))
      if (const auto* a = std::get_if<action::Answer>(&action)) return a->refusal;
    return Refusal::kBusy;
  };
  EXPECT_EQ(answer(facts, device), Refusal::kNone);
  EXPECT_EQ(answer(facts, device), Refusal::kNone);
  protocol::UpdateFacts other = facts;
  other.digest.bytes[5] = 10;
  EXPECT_EQ(answer(other, device), Refusal::kConflict);
  const DeviceId foreign{device.value % 12 + 1};
  EXPECT_EQ(answer(facts, foreign), Refusal::kReplayed);
  EXPECT_EQ(fleet.machine.job(JobId{1})->pending, 1u) << "counted once";
  EXPECT_THAT(fleet.problems, IsEmpty());
}

TEST(Machine, RefusesSampleCountsThatTheJobDoesNotAllow) {
  for (const std::uint64_t samples : {std::uint64_t{0}, std::uint64_t{1001}}) {
    Fleet fleet({});
    fleet.run(spec_of(PolicyKind::kFedBuff, 2), 0);
    const auto open = fleet.machine.assignment_of(DeviceId{1}, fleet.now());
    const DeviceId device = open ? DeviceId{1} : DeviceId{2};
    const auto mine = fleet.machine.assignment_of(device, fleet.now());
    if (!mine) continue;
    protocol::UpdateFacts facts;
    facts.digest.bytes[0] = 1;
    facts.samples = samples;
    facts.steps = 1;
    fleet.step(event::UpdateReceived{device, mine->id, facts});
    EXPECT_EQ(fleet.refusals[Refusal::kSampleCount], 1);
    EXPECT_TRUE(fleet.discarded.contains(mine->id));
    EXPECT_THAT(fleet.problems, IsEmpty());
  }
}

TEST(Machine, AbandonsARoundThatTooFewReportedAndCarriesTheirUpdates) {
  JobSpec spec = spec_of(PolicyKind::kFedAvg, 3);
  spec.fedavg.deadline = std::chrono::minutes(1);
  Fleet fleet({.seed = 2, .devices = 6, .slow = 0.6});
  fleet.run(spec);
  EXPECT_THAT(fleet.problems, IsEmpty());
  ASSERT_TRUE(fleet.ended);
  EXPECT_EQ(fleet.ended->status, JobStatus::kCompleted);
  EXPECT_GT(fleet.revocations[Refusal::kRoundAbandoned] + fleet.revocations[Refusal::kLate], 0);
}

TEST(Machine, PausesLongerAndLongerWhenNobodyCanDoTheWork) {
  Fleet fleet({.devices = 6, .fail = 1.0});
  fleet.run(spec_of(PolicyKind::kFedAvg, 3), 400);
  EXPECT_THAT(fleet.problems, IsEmpty());
  EXPECT_FALSE(fleet.ended);
  EXPECT_GT(fleet.now() - Time{}, std::chrono::hours(1)) << "a few hundred events in over an hour, not in a moment";
}

TEST(Machine, RefusesMoreLocalStepsThanWereAskedFor) {
  Fleet fleet({});
  fleet.run(spec_of(PolicyKind::kFedBuff, 2), 0);
  for (std::uint64_t d = 1; d <= 12; ++d) {
    const auto open = fleet.machine.assignment_of(DeviceId{d}, fleet.now());
    if (!open) continue;
    protocol::UpdateFacts facts;
    facts.digest.bytes[0] = 1;
    facts.samples = 25;
    facts.steps = 4;  // one epoch of 25 examples in batches of 10 is three
    fleet.step(event::UpdateReceived{DeviceId{d}, open->id, facts});
    EXPECT_EQ(fleet.refusals[Refusal::kMalformed], 1);
    return;
  }
  FAIL() << "nobody got work";
}

TEST(Machine, PrunesOldVersionsButNeverOneThatAnAssignmentRefersTo) {
  JobSpec spec = spec_of(PolicyKind::kFedBuff, 60);
  Fleet fleet({.slow = 0.1});
  fleet.run(spec);  // the invariants check the references after every step
  EXPECT_THAT(fleet.problems, IsEmpty());
  EXPECT_GT(fleet.dropped.size(), 40u);
  EXPECT_FALSE(fleet.dropped.contains(60));
  EXPECT_FALSE(fleet.dropped.contains(59));
}

TEST(Machine, EvaluatesOnDevicesAndEndsOnlyAfterTheLastEvaluation) {
  JobSpec spec = spec_of(PolicyKind::kFedAvg, 6);
  spec.evaluation.every = 2;
  spec.evaluation.devices = 4;
  Fleet fleet({});
  fleet.run(spec);
  EXPECT_THAT(fleet.problems, IsEmpty());
  ASSERT_TRUE(fleet.ended);
  ASSERT_FALSE(fleet.evaluated.empty());
  EXPECT_EQ(fleet.evaluated.back().version, 6u);
  EXPECT_EQ(fleet.evaluated.back().devices, 4u);
  EXPECT_EQ(fleet.evaluated.back().facts.samples, 80u);
  EXPECT_EQ(fleet.evaluated.back().facts.correct, 60u);
}

TEST(Machine, AssignsNothingWhileTheStoreIsFullAndGoesOnAfterwards) {
  Fleet fleet({});
  fleet.step(event::StorageChanged{true});
  fleet.run(spec_of(PolicyKind::kFedAvg, 3));
  EXPECT_TRUE(fleet.assigned.empty());
  fleet.step(event::StorageChanged{false});
  EXPECT_EQ(fleet.assigned.size(), 5u);
  EXPECT_THAT(fleet.problems, IsEmpty());
}

TEST(Machine, ServesSeveralJobsAtOnceAndStopsOneWithoutTheOther) {
  Fleet fleet({.devices = 30});
  JobSpec first = spec_of(PolicyKind::kFedAvg, 1000), second = spec_of(PolicyKind::kFedBuff, 1000);
  fleet.run(first, 32);
  fleet.step(event::JobSubmitted{JobId{2}, second});
  EXPECT_GT(fleet.machine.job(JobId{2})->outstanding, 0u);
  fleet.step(event::JobStopRequested{JobId{1}});
  EXPECT_EQ(fleet.machine.job(JobId{1})->status, JobStatus::kStopped);
  EXPECT_EQ(fleet.machine.job(JobId{1})->outstanding, 0u);
  EXPECT_EQ(fleet.machine.job(JobId{2})->status, JobStatus::kRunning);
  EXPECT_THAT(fleet.problems, IsEmpty());
}

TEST(Machine, ForgetsTheOldestEndedJobsWhenOneIsSubmitted) {
  Fleet fleet({.devices = 2});
  const JobSpec spec = spec_of(PolicyKind::kFedAvg, 5);
  fleet.run(spec, 0);  // job 1 goes on all the time
  constexpr std::uint64_t kJobs = kEndedJobsKept + 10;
  std::vector<std::uint64_t> forgotten;
  for (std::uint64_t id = 2; id <= kJobs; ++id) {
    for (const Action& action : fleet.step(event::JobSubmitted{JobId{id}, spec}))
      if (const auto* drop = std::get_if<action::DropVersions>(&action)) {
        forgotten.push_back(drop->job.value);
        EXPECT_EQ(drop->versions, std::vector<Version>{0}) << "all that it has";
      }
    fleet.step(event::JobStopRequested{JobId{id}});
  }
  std::vector<std::uint64_t> expected;
  for (std::uint64_t id = 2; id < kJobs - kEndedJobsKept; ++id) expected.push_back(id);
  EXPECT_EQ(forgotten, expected);
  EXPECT_FALSE(fleet.machine.job(JobId{2}));
  EXPECT_EQ(fleet.machine.job(JobId{1})->status, JobStatus::kRunning);
  EXPECT_EQ(fleet.machine.job(JobId{kJobs})->status, JobStatus::kStopped);
  EXPECT_THAT(fleet.problems, IsEmpty());
}

TEST(Machine, GivesARevokedDeviceNothingMore) {
  Fleet fleet({});
  fleet.run(spec_of(PolicyKind::kFedBuff, 5), 0);
  for (std::uint64_t d = 1; d <= 12; ++d) fleet.step(event::DeviceLost{DeviceId{d}, true});
  const std::size_t before = fleet.assigned.size();
  for (std::uint64_t d = 1; d <= 12; ++d) fleet.step(event::DeviceReady{DeviceId{d}, {100, 20, 0}});
  EXPECT_EQ(fleet.assigned.size(), before);
  EXPECT_THAT(fleet.problems, IsEmpty());
}

TEST(Machine, FailsAJobWhoseFoldIsImpossible) {
  Fleet fleet({});
  fleet.run(spec_of(PolicyKind::kFedAvg, 5), 0);
  while (fleet.folds.empty()) {
    for (std::uint64_t d = 1; d <= 12; ++d)
      if (const auto open = fleet.machine.assignment_of(DeviceId{d}, fleet.now())) {
        protocol::UpdateFacts facts;
        facts.digest.bytes[0] = 1;
        facts.samples = facts.steps = 1;
        fleet.step(event::UpdateReceived{DeviceId{d}, open->id, facts});
      }
  }
  fleet.step(event::FoldFailed{JobId{1}, "a segment is corrupt"});
  ASSERT_TRUE(fleet.ended);
  EXPECT_EQ(fleet.ended->status, JobStatus::kFailed);
  EXPECT_THAT(fleet.problems, IsEmpty());
}

TEST(Machine, RefusesASnapshotThatIsCutOrChanged) {
  Fleet fleet({});
  fleet.run(spec_of(PolicyKind::kFedCompass, 5), 40);
  const std::string state = fleet.machine.save();
  for (std::size_t n = 0; n < state.size(); n += 7) EXPECT_FALSE(Machine::load(state.substr(0, n)).ok());
}

}  // namespace
}  // namespace shoal::coordinator
