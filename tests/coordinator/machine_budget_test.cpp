// Devices with budgets: which plan of a job they are given, and who is left out.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/coordinator/fleet.h"

namespace shoal::coordinator {
namespace {

using testing::Fleet;
using ::testing::IsEmpty;
using testing::spec_of;

JobSpec spec_with_plans(PolicyKind policy, std::uint64_t rounds = 20) {
  JobSpec spec = spec_of(policy, rounds);
  spec.training.plan = "full:40MB, lite+bias:20MB, head:10MB";
  return spec;
}

class Budgets : public ::testing::TestWithParam<PolicyKind> {};
INSTANTIATE_TEST_SUITE_P(Machine, Budgets,
                         ::testing::Values(PolicyKind::kFedAvg, PolicyKind::kFedBuff, PolicyKind::kFedCompass),
                         [](const auto& info) { return std::string(name_of(info.param)); });

TEST_P(Budgets, ADeviceTrainsTheFirstPlanThatItsBudgetAllows) {
  for (const bool reload : {false, true}) {
    Fleet fleet({.devices = 20,
                 .fail = 0.05,
                 .vanish = 0.05,
                 .reload = reload,
                 .budgets = {50'000'000, 40'000'000, 39'999'999, 10'000'000, 9'999'999}});
    fleet.run(spec_with_plans(GetParam()));
    EXPECT_THAT(fleet.problems, IsEmpty());
    ASSERT_TRUE(fleet.ended);
    EXPECT_EQ(fleet.ended->status, JobStatus::kCompleted);
    const std::vector<std::set<std::string>> wanted{{"full"}, {"full"}, {"lite+bias"}, {"head"}};
    for (const auto& [device, plans] : fleet.plans) {
      const std::size_t budget = (device.value - 1) % 5;
      ASSERT_LT(budget, 4u) << "device " << device.value << " has too little memory for any plan";
      EXPECT_EQ(plans, wanted[budget]) << "device " << device.value;
    }
    // What is folded names the plan that was trained.
    const std::vector<std::string> names{"full", "lite+bias", "head"};
    for (const action::Fold& fold : fleet.folds)
      for (const auto& entry : fold.entries)
        EXPECT_EQ(fleet.assigned[entry.assignment.value - 1].training.plan, names[entry.plan]);
  }
}

TEST_P(Budgets, WhoHasTooLittleForEveryPlanIsToldAndNotAskedToEvaluateEither) {
  JobSpec spec = spec_with_plans(GetParam(), 10);
  spec.evaluation = {.every = 1, .devices = 20};
  Fleet fleet({.devices = 12, .budgets = {40'000'000, 5'000'000}});
  fleet.run(spec);
  EXPECT_THAT(fleet.problems, IsEmpty());
  ASSERT_TRUE(fleet.ended);
  EXPECT_EQ(fleet.ended->status, JobStatus::kCompleted);
  for (const auto& [device, assignments] : fleet.given) EXPECT_EQ(device.value % 2, 1u);
  ASSERT_EQ(fleet.passed_over.size(), 6u) << "each once";
  for (const auto& told : fleet.passed_over) {
    EXPECT_EQ(told.device.value % 2, 0u);
    EXPECT_EQ(told.plan, "head");
    EXPECT_EQ(told.memory, 10'000'000u);
  }
}

TEST(BudgetsOf, ARoundCountsOnlyDevicesThatCanTakePart) {
  Fleet fleet({.devices = 12, .budgets = {40'000'000, 5'000'000, 5'000'000}});
  fleet.run(spec_with_plans(PolicyKind::kFedAvg), 0);
  EXPECT_TRUE(fleet.opened.empty()) << "four of twelve can, and the cohort is five";
  const JobSummary job = *fleet.machine.job(JobId{1});
  EXPECT_EQ(job.devices_wanted, 5u);
  EXPECT_EQ(job.devices_idle, 4u);
  fleet.step(event::DeviceReady{DeviceId{2}, {100, 20, 20'000'000}});
  ASSERT_EQ(fleet.opened.size(), 1u) << "its owner gave it more";
  EXPECT_EQ(fleet.opened[0].available, 5u);
  EXPECT_EQ(fleet.plans[DeviceId{2}], std::set<std::string>{"lite+bias"});
}

TEST(BudgetsOf, MayChangeBetweenRounds) {
  Fleet fleet({.devices = 5, .budgets = {40'000'000}});
  fleet.run(spec_with_plans(PolicyKind::kFedAvg), 0);
  // Work that was given stays as it was; the next is what the device has memory for by then.
  fleet.step(event::DeviceReady{DeviceId{1}, {100, 20, 10'000'000}});
  fleet.run_on();
  EXPECT_THAT(fleet.problems, IsEmpty());
  EXPECT_EQ(fleet.plans[DeviceId{1}], (std::set<std::string>{"full", "head"}));
  EXPECT_EQ(fleet.assigned.front().training.plan, "full");
  EXPECT_EQ(fleet.plans[DeviceId{2}], std::set<std::string>{"full"});
}

TEST(BudgetsOf, OneThatIsNotStatedIsNoLimit) {
  Fleet fleet({});
  fleet.run(spec_with_plans(PolicyKind::kFedBuff));
  for (const auto& [device, plans] : fleet.plans) EXPECT_EQ(plans, std::set<std::string>{"full"});
  EXPECT_TRUE(fleet.passed_over.empty());
}

}  // namespace
}  // namespace shoal::coordinator
