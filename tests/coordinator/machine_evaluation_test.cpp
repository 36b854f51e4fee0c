// Evaluations on devices: which versions get one, and what devices may say.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/coordinator/fleet.h"

namespace shoal::coordinator {
namespace {

using protocol::EvaluationFacts;
using protocol::Refusal;
using testing::Fleet;
using ::testing::IsEmpty;
using testing::spec_of;

JobSpec evaluated_spec(PolicyKind policy, std::uint64_t rounds, std::uint32_t every) {
  JobSpec spec = spec_of(policy, rounds);
  spec.evaluation.every = every;
  spec.evaluation.devices = 2;
  return spec;
}

TEST(Evaluation, TheLastVersionIsEvaluatedHoweverLongEvaluationsTake) {
  for (const PolicyKind policy : {PolicyKind::kFedAvg, PolicyKind::kFedBuff, PolicyKind::kFedCompass})
    for (const bool reload : {false, true}) {
      Fleet fleet({.devices = 14, .reload = reload, .evaluation = std::chrono::seconds(55)});
      fleet.run(evaluated_spec(policy, 20, 3));
      EXPECT_THAT(fleet.problems, IsEmpty());
      ASSERT_TRUE(fleet.ended);
      ASSERT_FALSE(fleet.evaluated.empty());
      EXPECT_EQ(fleet.evaluated.back().version, 20u) << name_of(policy);
      EXPECT_EQ(fleet.evaluated.back().devices, 2u) << name_of(policy);
      std::set<Version> versions;
      for (const auto& evaluated : fleet.evaluated) EXPECT_TRUE(versions.insert(evaluated.version).second);
    }
}

TEST(Evaluation, OfVersionsThatComeDueMeanwhileTheNewestIsNext) {
  JobSpec spec = evaluated_spec(PolicyKind::kFedBuff, 60, 1);
  spec.keep_versions = 1;
  Fleet fleet({.evaluation = std::chrono::seconds(30)});
  fleet.run(spec);
  EXPECT_THAT(fleet.problems, IsEmpty());
  EXPECT_LT(fleet.evaluated.size(), 30u) << "some were skipped";
  EXPECT_GT(fleet.evaluated.size(), 5u);
  EXPECT_EQ(fleet.evaluated.back().version, 60u);
}

TEST(Evaluation, TheSummaryNamesTheOneUnderWayAndTheNext) {
  Fleet fleet({.devices = 1});
  JobSpec spec = evaluated_spec(PolicyKind::kFedBuff, 10, 1);
  spec.fedbuff.concurrency = spec.fedbuff.buffer = 1;
  fleet.run(spec, 0);
  EXPECT_THAT(fleet.machine.job(JobId{1})->evaluations, IsEmpty());
  for (const std::set<Version>& told : {std::set<Version>{1}, std::set<Version>{1, 2}}) {
    protocol::UpdateFacts facts;
    facts.digest.bytes[0] = static_cast<std::uint8_t>(told.size());
    facts.samples = facts.steps = 1;
    const auto open = fleet.machine.assignment_of(DeviceId{1}, fleet.now());
    if (open->kind == protocol::TaskKind::kEvaluate) break;  // the one device may get this first
    fleet.step(event::UpdateReceived{DeviceId{1}, open->id, facts});
    fleet.step(event::Committed{JobId{1}, *told.rbegin(), {}, 0});
    EXPECT_EQ(fleet.machine.job(JobId{1})->evaluations, told);
  }
}

TEST(Evaluation, AJobEndsWithoutOneWhereNoDeviceCan) {
  Fleet fleet({});
  fleet.run(evaluated_spec(PolicyKind::kFedAvg, 1, 1), 0);
  for (std::uint64_t d = 1; d <= 12; ++d) fleet.step(event::DeviceReady{DeviceId{d}, {100, 0, 0}});
  while (fleet.folds.empty())
    for (std::uint64_t d = 1; d <= 12; ++d)
      if (const auto open = fleet.machine.assignment_of(DeviceId{d}, fleet.now())) {
        protocol::UpdateFacts facts;
        facts.digest.bytes[0] = 1;
        facts.samples = facts.steps = 1;
        fleet.step(event::UpdateReceived{DeviceId{d}, open->id, facts});
      }
  fleet.step(event::Committed{JobId{1}, 1, {}, 0});
  ASSERT_TRUE(fleet.ended);
  EXPECT_THAT(fleet.evaluated, IsEmpty());
}

// What one device of an evaluation says; the others are silent. The device announced 20 test examples.
Refusal answer_to(const EvaluationFacts& said, std::uint64_t max_samples = 1000) {
  Fleet fleet({.devices = 1});
  JobSpec spec = evaluated_spec(PolicyKind::kFedBuff, 10, 1);
  spec.fedbuff.concurrency = spec.fedbuff.buffer = 1;
  spec.limits.max_samples = max_samples;
  fleet.run(spec, 0);
  protocol::UpdateFacts facts;
  facts.digest.bytes[0] = 1;
  facts.samples = facts.steps = 1;
  fleet.step(event::UpdateReceived{DeviceId{1}, fleet.machine.assignment_of(DeviceId{1}, fleet.now())->id, facts});
  fleet.step(event::Committed{JobId{1}, 1, {}, 0});
  // The one device may have got training first; then the evaluation follows it.
  auto open = fleet.machine.assignment_of(DeviceId{1}, fleet.now());
  if (open->kind == protocol::TaskKind::kTrain) {
    facts.digest.bytes[1] = 1;
    fleet.step(event::UpdateReceived{DeviceId{1}, open->id, facts});
    open = fleet.machine.assignment_of(DeviceId{1}, fleet.now());
  }
  EXPECT_EQ(open->kind, protocol::TaskKind::kEvaluate);
  const Actions actions = fleet.step(event::EvaluationReceived{DeviceId{1}, open->id, said});
  EXPECT_THAT(fleet.problems, IsEmpty());
  for (const Action& action : actions)
    if (const auto* answer = std::get_if<action::Answer>(&action)) {
      EXPECT_EQ(answer->refusal == Refusal::kNone, !fleet.evaluated.empty() && fleet.evaluated.back().devices == 1);
      return answer->refusal;
    }
  return Refusal::kBusy;
}

TEST(Evaluation, SampleCountsAreBoundedByTheJobAndByWhatTheDeviceAnnounced) {
  EXPECT_EQ(answer_to({20, 20, 1.0}), Refusal::kNone);
  EXPECT_EQ(answer_to({21, 20, 1.0}), Refusal::kSampleCount);
  EXPECT_EQ(answer_to({20, 20, 1.0}, 19), Refusal::kSampleCount);
  EXPECT_EQ(answer_to({19, 19, 1.0}, 19), Refusal::kNone);
  EXPECT_EQ(answer_to({0, 0, 0}), Refusal::kSampleCount);
}

TEST(Evaluation, ImpossibleFactsAreRefused) {
  EXPECT_EQ(answer_to({20, 21, 1.0}), Refusal::kMalformed);
  EXPECT_EQ(answer_to({20, 10, -0.5}), Refusal::kMalformed);
  EXPECT_EQ(answer_to({20, 10, std::nan("")}), Refusal::kMalformed);
  EXPECT_EQ(answer_to({20, 10, std::numeric_limits<double>::infinity()}), Refusal::kMalformed);
  EXPECT_EQ(answer_to({20, 0, 0}), Refusal::kNone);
}

}  // namespace
}  // namespace shoal::coordinator
