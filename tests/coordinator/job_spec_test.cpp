#include "coordinator/job_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

namespace shoal::coordinator {
namespace {

using ::testing::HasSubstr;
using Change = std::function<void(JobSpec&)>;

TEST(JobSpec, TheDefaultsOfEveryPolicyAreConsistent) {
  for (const auto& [policy, name] : enum_names(PolicyKind{})) {
    JobSpec spec;
    spec.policy = policy;
    EXPECT_TRUE(check(spec).ok()) << name;
  }
}

struct Case {
  const char* mentions;  // in the error
  Change change;         // of an otherwise good job
};

void expect_refused(const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    JobSpec spec;
    c.change(spec);
    const Status checked = check(spec);
    ASSERT_FALSE(checked.ok()) << c.mentions;
    EXPECT_EQ(checked.error().code(), ErrorCode::kInvalid);
    EXPECT_THAT(checked.error().to_string(), HasSubstr(c.mentions));
  }
}

void expect_accepted(const std::vector<Change>& changes) {
  for (std::size_t i = 0; i < changes.size(); ++i) {
    JobSpec spec;
    changes[i](spec);
    const Status checked = check(spec);
    EXPECT_TRUE(checked.ok()) << "case " << i << ": " << checked.error().to_string();
  }
}

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr Duration kDay = std::chrono::hours(24);

TEST(JobSpec, ValuesOutOfRangeAreNamed) {
  expect_refused({
      {"rounds must be at least 1", [](JobSpec& s) { s.rounds = 0; }},
      {"keep_versions must be at least 1", [](JobSpec& s) { s.keep_versions = 0; }},
      {"fedavg.cohort must be at least 1", [](JobSpec& s) { s.fedavg.cohort = 0; }},
      {"fedavg.cohort must be at most 100000", [](JobSpec& s) { s.fedavg.cohort = 100001; }},
      {"fedavg.over_selection must be at least 1", [](JobSpec& s) { s.fedavg.over_selection = 0.99; }},
      {"fedavg.over_selection must be at least 1", [](JobSpec& s) { s.fedavg.over_selection = kNan; }},
      {"fedavg.over_selection must be at most 10", [](JobSpec& s) { s.fedavg.over_selection = INFINITY; }},
      {"fedavg.min_fraction must be at most 1", [](JobSpec& s) { s.fedavg.min_fraction = 1.01; }},
      {"fedavg.min_fraction must be at least 0", [](JobSpec& s) { s.fedavg.min_fraction = -0.1; }},
      {"fedavg.deadline must be at least 0", [](JobSpec& s) { s.fedavg.deadline = Duration(-1); }},
      {"fedavg.deadline must be at most 30d", [](JobSpec& s) { s.fedavg.deadline = 31 * kDay; }},
      {"fedavg.deadline must be at most 30d", [](JobSpec& s) { s.fedavg.deadline = Duration::max(); }},
      {"fedbuff.concurrency must be at least 1", [](JobSpec& s) { s.fedbuff.concurrency = 0; }},
      {"fedbuff.staleness_exponent must be at least 0", [](JobSpec& s) { s.fedbuff.staleness_exponent = -1; }},
      {"fedcompass.latest_factor must be at least 1", [](JobSpec& s) { s.fedcompass.latest_factor = 0.5; }},
      {"evaluation.lease must be at least 1s", [](JobSpec& s) { s.evaluation.lease = Duration::zero(); }},
      {"evaluation.lease must be at most 30d", [](JobSpec& s) { s.evaluation.lease = Duration::max(); }},
      {"limits.update_bound must be at least", [](JobSpec& s) { s.limits.update_bound = 0; }},
      {"limits.update_bound", [](JobSpec& s) { s.limits.update_bound = kNan; }},
      {"limits.max_samples must be at least 1", [](JobSpec& s) { s.limits.max_samples = 0; }},
      {"training.learning_rate must be at least 0", [](JobSpec& s) { s.training.learning_rate = -0.1; }},
      {"training.momentum must be at most", [](JobSpec& s) { s.training.momentum = 1; }},
      {"training.batch_size must be at least 1", [](JobSpec& s) { s.training.batch_size = 0; }},
      {"optimizer.learning_rate must be at least 0", [](JobSpec& s) { s.optimizer.learning_rate = -1; }},
      {"optimizer.momentum must be at most", [](JobSpec& s) { s.optimizer.momentum = 1; }},
      {"optimizer.tau must be at least", [](JobSpec& s) { s.optimizer.tau = 0; }},
  });
}

TEST(JobSpec, ContradictionsAreNamed) {
  expect_refused({
      {"training.learning_rate must be above 0", [](JobSpec& s) { s.training.learning_rate = 0; }},
      {"optimizer.learning_rate must be above 0", [](JobSpec& s) { s.optimizer.learning_rate = 0; }},
      {"no training plan is called \"half\"", [](JobSpec& s) { s.training.plan = "half"; }},
      {"training.momentum is of sgd",
       [](JobSpec& s) {
         s.training.optimizer = protocol::LocalOptimizerKind::kAdam;
         s.training.momentum = 0.9;
       }},
      {"weigh_steps knows how far steps of sgd reach",
       [](JobSpec& s) {
         s.training.optimizer = protocol::LocalOptimizerKind::kAdam;
         s.weigh_steps = true;
       }},
      {"fedavg.deadline times fedavg.late_staleness",
       [](JobSpec& s) {
         s.fedavg.late = LateRule::kKeep;
         s.fedavg.deadline = 30 * kDay;
         s.fedavg.late_staleness = 1000;
       }},
      {"fedcompass.min_steps is larger",
       [](JobSpec& s) {
         s.policy = PolicyKind::kFedCompass;
         s.fedcompass.min_steps = 101;
       }},
      {"fedcompass.alpha must be above 0",
       [](JobSpec& s) {
         s.policy = PolicyKind::kFedCompass;
         s.fedcompass.alpha = 0;
       }},
      {"fedavg.cohort leave no room for exact sums",
       [](JobSpec& s) {
         s.fedavg.cohort = 100000;
         s.fedavg.over_selection = 10;
         s.limits.max_samples = std::uint64_t{1} << 30;
         s.limits.update_bound = 1e6;
       }},
      {"weigh_steps needs training.learning_rate times training.proximal",
       [](JobSpec& s) {
         s.weigh_steps = true;
         s.training.learning_rate = 0.5;
         s.training.proximal = 2;
       }},
  });
}

TEST(JobSpec, WhatIsNearlyAContradictionIsNone) {
  expect_accepted({
      [](JobSpec& s) { s.fedavg.min_devices = 1000; },
      [](JobSpec& s) { s.fedavg.deadline = 30 * kDay; },
      [](JobSpec& s) {
        s.fedavg.late = LateRule::kKeep;
        s.fedavg.deadline = kDay;
        s.fedavg.late_staleness = 1000;
      },
      [](JobSpec& s) { s.fedcompass.min_steps = 101; },  // of another policy than the job's
      [](JobSpec& s) {
        s.weigh_steps = true;
        s.training.learning_rate = 0.5;
        s.training.proximal = 1.99;
      },
      [](JobSpec& s) { s.training.proximal = 100; },
  });
}

TEST(JobSpec, NamesArePlainWords) {
  for (const char* name : {"a", "mnist-2nn_v1.0", "x:y", "100%", "a=b,c"}) {
    JobSpec spec;
    spec.name = name;
    EXPECT_TRUE(check(spec).ok()) << name;
  }
  const std::string long_name(65, 'x');
  for (const char* name : {"", "two words", "quo\"te", "it's", "back\\slash", "a/b", "line\nbreak", "tab\t", "\x7f",
                           "caf\xc3\xa9", "tick`", long_name.c_str()}) {
    JobSpec spec;
    spec.name = name;
    const Status checked = check(spec);
    ASSERT_FALSE(checked.ok()) << name;
    EXPECT_THAT(checked.error().message(), HasSubstr("name")) << name;
  }
}

}  // namespace
}  // namespace shoal::coordinator
