// FedCompass in the machine: beside another job, and with FedNova's weights.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/coordinator/fleet.h"

namespace shoal::coordinator {
namespace {

using testing::Fleet;
using ::testing::IsEmpty;
using testing::spec_of;

TEST(FedCompassJob, SharesItsDevicesWithAnotherJobAndLosesNoUpdate) {
  for (const bool reload : {false, true})
    for (std::uint64_t seed = 1; seed <= 10; ++seed) {
      Fleet fleet({.seed = seed, .devices = 6, .slow = 0.02, .reload = reload});
      JobSpec compass = spec_of(PolicyKind::kFedCompass, 40), buffered = spec_of(PolicyKind::kFedBuff, 1000000);
      buffered.fedbuff.concurrency = 3;
      fleet.run(compass, 0);
      fleet.step(event::JobSubmitted{JobId{2}, buffered});
      fleet.run_on();
      EXPECT_THAT(fleet.problems, IsEmpty()) << "seed " << seed;
      ASSERT_TRUE(fleet.ended) << "seed " << seed;
      EXPECT_EQ(fleet.ended->job, JobId{1});
      EXPECT_GT(fleet.machine.job(JobId{2})->version, 5u) << "the other job goes on too, seed " << seed;
      for (const auto& [id, times] : fleet.receipts) {
        if (fleet.assigned[id.value - 1].job != JobId{1}) continue;
        const int uses = fleet.folded.contains(id) ? fleet.folded.at(id) : 0;
        EXPECT_EQ(uses + static_cast<int>(fleet.discarded.contains(id)), 1) << "assignment " << id.value;
      }
    }
}

// Against the formula of Wang et al. in its plainest form: x <- x + tau_eff sum p_i delta_i / tau_i.
TEST(FedCompassJob, WeighsStepsWhenTheJobSaysSo) {
  JobSpec spec = spec_of(PolicyKind::kFedCompass, 60);
  spec.weigh_steps = true;
  Fleet fleet({.seed = 5, .devices = 5});
  fleet.run(spec);
  EXPECT_THAT(fleet.problems, IsEmpty());
  ASSERT_TRUE(fleet.ended);
  std::size_t mixed = 0;
  for (const action::Fold& fold : fleet.folds) {
    double mass = 0, moved = 0;
    std::vector<double> p, tau;
    for (const auto& entry : fold.entries) {
      const protocol::Assignment& a = fleet.assigned[entry.assignment.value - 1];
      p.push_back(spec.fedcompass.alpha / spec.fedcompass.devices /
                  std::sqrt(1.0 + static_cast<double>(fold.version - 1 - a.version)));
      tau.push_back(a.steps);
      mass += p.back();
      moved += p.back() * tau.back();
    }
    mixed += std::set(tau.begin(), tau.end()).size() > 1;
    for (std::size_t i = 0; i < p.size(); ++i)
      EXPECT_NEAR(fold.entries[i].weight.value() * fold.scale, moved / mass * p[i] / tau[i],
                  1e-4 * moved / mass * p[i] / tau[i]);
  }
  EXPECT_GT(mixed, 5u) << "folds whose devices made different numbers of steps";
}

}  // namespace
}  // namespace shoal::coordinator
