#include "coordinator/durable_machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/rng.h"
#include "coordinator/memory_store.h"
#include "tests/support/crash_world.h"

namespace shoal::coordinator {
namespace {

using testing::CrashOutcome;
using testing::CrashWorldOptions;
using ::testing::IsEmpty;

JobSpec small_job(PolicyKind policy) {
  JobSpec spec;
  spec.name = "crash";
  spec.policy = policy;
  spec.rounds = 6;
  spec.fedavg.cohort = 4;
  spec.fedavg.deadline = std::chrono::hours(1);
  spec.fedbuff.concurrency = 5;
  spec.fedbuff.buffer = 3;
  spec.fedcompass.devices = 6;
  spec.fedcompass.min_steps = 2;
  spec.fedcompass.max_steps = 10;
  spec.optimizer.name = aggregation::ServerOptimizerKind::kFedAdam;
  spec.limits.max_samples = 100;
  return spec;
}

// Counts store operations and makes chosen ones fail, before or after they take effect.
struct CrashPlan {
  std::set<std::uint64_t> before, after;
  std::uint64_t operations = 0;
};

CrashOutcome run(PolicyKind policy, std::uint64_t seed, CrashPlan& plan, int workers = 1) {
  MemoryStore store;
  const auto arm = [&] {
    store.faults.before = [&plan](StoreOperation) -> Status {
      if (plan.before.contains(++plan.operations)) return Error(ErrorCode::kFailed, "crash");
      return {};
    };
    store.faults.after = [&plan](StoreOperation) -> Status {
      if (plan.after.contains(plan.operations)) return Error(ErrorCode::kFailed, "crash");
      return {};
    };
  };
  CrashWorldOptions options;
  options.spec = small_job(policy);
  options.seed = seed;
  options.fold_workers = workers;
  options.open = [&] {
    arm();
    return testing::OpenStores{&store.journal, &store.bodies, &store.models};
  };
  options.crash = [&] { store.crash(); };
  return testing::run_crash_world(options);
}

class CrashSafety : public ::testing::TestWithParam<PolicyKind> {};

// 10,000 seeded crash points over whole jobs, a few in each job.
TEST_P(CrashSafety, CountsEveryAcknowledgedUpdateExactlyOnceWhereverItCrashes) {
  CrashPlan calm;
  const CrashOutcome reference = run(GetParam(), 1, calm);
  ASSERT_THAT(reference.problems, IsEmpty());
  ASSERT_GT(calm.operations, 50u);

  Stream draw(7, "crash points", static_cast<std::uint64_t>(GetParam()));
  std::uint64_t crashes = 0;
  for (int trial = 0; crashes < 3400; ++trial) {
    CrashPlan plan;
    for (int i = 0; i < 4; ++i) (draw.below(2) == 0 ? plan.before : plan.after).insert(1 + draw.below(calm.operations));
    const CrashOutcome outcome = run(GetParam(), 1, plan);
    ASSERT_THAT(outcome.problems, IsEmpty()) << "trial " << trial;
    ASSERT_GT(outcome.crashes, 0u) << "trial " << trial;
    crashes += outcome.crashes;
    ASSERT_EQ(outcome.folds.size(), reference.folds.size());
    // A round that waits for its whole cohort folds the same work whatever happened on the way.
    if (GetParam() == PolicyKind::kFedAvg) {
      ASSERT_EQ(outcome.model, reference.model) << "trial " << trial << ": other bits than without a crash";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(DurableMachine, CrashSafety,
                         ::testing::Values(PolicyKind::kFedAvg, PolicyKind::kFedBuff, PolicyKind::kFedCompass),
                         [](const auto& param) { return std::string(name_of(param.param)); });

TEST(DurableMachine, GivesTheSameBitsForOneToEightFoldWorkers) {
  CrashPlan calm;
  const CrashOutcome reference = run(PolicyKind::kFedBuff, 5, calm, 1);
  for (int workers = 2; workers <= 8; ++workers) {
    CrashPlan plan;
    EXPECT_EQ(run(PolicyKind::kFedBuff, 5, plan, workers).model, reference.model) << workers << " workers";
  }
}

TEST(DurableMachine, HoldsItsActionsWhileTheDiskIsFullAndLosesNothing) {
  MemoryStore store;
  DurableMachine durable = DurableMachine::recover(store.journal).value();
  durable.step(event::DeviceReady{DeviceId{1}, {10, 0, 0}}, Time{});
  int refusals = 3;
  store.faults.before = [&](StoreOperation) -> Status {
    if (refusals-- > 0) return Error(ErrorCode::kExhausted, "disk full");
    return {};
  };
  for (int i = 0; i < 3; ++i) {
    const auto flushed = durable.flush();
    ASSERT_FALSE(flushed.ok());
    EXPECT_EQ(flushed.error().code(), ErrorCode::kExhausted);
    EXPECT_TRUE(durable.has_unwritten());
  }
  durable.step(event::DeviceReady{DeviceId{2}, {10, 0, 0}}, Time{});
  ASSERT_TRUE(durable.flush().ok());
  EXPECT_FALSE(durable.has_unwritten());
  store.crash();
  EXPECT_EQ(DurableMachine::recover(store.journal).value().machine().online_devices(), 2u);
}

TEST(DurableMachine, KeepsItsJournalShortWhileNoJobRuns) {
  MemoryStore store;
  DurableMachine durable = DurableMachine::recover(store.journal).value();
  for (std::uint64_t i = 0; i < DurableMachine::kMostEvents + 10; ++i) {
    durable.step(event::DeviceReady{DeviceId{1 + i % 3}, {i, 0, 0}}, Time{});
    ASSERT_TRUE(durable.flush().ok());
  }
  EXPECT_EQ(store.journal.recover().value().records.size(), 10u);
  EXPECT_EQ(DurableMachine::recover(store.journal).value().machine().save(), durable.machine().save());
}

TEST(DurableMachine, NeedsNoEventAfterACheckpoint) {
  MemoryStore store;
  DurableMachine durable = DurableMachine::recover(store.journal).value();
  durable.step(event::DeviceReady{DeviceId{1}, {10, 0, 0}}, Time{});
  ASSERT_TRUE(durable.flush().ok());
  EXPECT_TRUE(durable.machine().quiet());
  ASSERT_TRUE(durable.checkpoint(Time{std::chrono::seconds(5)}).ok());
  const Recovered recovered = store.journal.recover().value();
  EXPECT_TRUE(recovered.records.empty());
  EXPECT_EQ(recovered.now, Time{std::chrono::seconds(5)});
  EXPECT_EQ(DurableMachine::recover(store.journal).value().machine().online_devices(), 1u);
}

TEST(DurableMachine, ForgottenJobsLeaveNoModelBehind) {
  MemoryStore store;
  DurableMachine durable = DurableMachine::recover(store.journal).value();
  constexpr std::uint64_t kJobs = kEndedJobsKept + 5;
  for (std::uint64_t id = 1; id <= kJobs; ++id) {
    ModelRef model;
    model.job = JobId{id};
    durable.step_with_model(event::JobSubmitted{JobId{id}, small_job(PolicyKind::kFedAvg)}, Time{}, model);
    durable.step(event::JobStopRequested{JobId{id}}, Time{});
    const auto flushed = durable.flush();
    ASSERT_TRUE(flushed.ok());
    EXPECT_TRUE(flushed->models_changed);
  }
  const DurableMachine recovered = DurableMachine::recover(store.journal).value();
  for (const DurableMachine* machine : {&std::as_const(durable), &recovered}) {
    EXPECT_EQ(machine->machine().jobs().size(), kEndedJobsKept + 1);
    EXPECT_EQ(machine->models().size(), kEndedJobsKept + 1);
    for (const auto& [key, ref] : machine->models()) EXPECT_TRUE(machine->machine().job(key.first));
  }
}

// A journal with these records and nothing else.
class GivenJournal final : public Journal {
 public:
  explicit GivenJournal(std::vector<JournalRecord> records) : records_(std::move(records)) {}
  Result<Recovered> recover() override {
    Recovered recovered;
    recovered.records = records_;
    return recovered;
  }
  Status append(std::span<const JournalRecord>) override { return {}; }
  Status commit(const Commit&) override { return {}; }
  Status put(std::string_view, std::string_view, std::string_view) override { return {}; }
  Result<std::optional<std::string>> get(std::string_view, std::string_view) override {
    return std::optional<std::string>();
  }
  Result<std::vector<std::pair<std::string, std::string>>> scan(std::string_view) override {
    return std::vector<std::pair<std::string, std::string>>();
  }

 private:
  std::vector<JournalRecord> records_;
};

TEST(DurableMachine, RefusesAJournalWithAGap) {
  MemoryStore store;
  DurableMachine durable = DurableMachine::recover(store.journal).value();
  for (std::uint64_t d = 1; d <= 4; ++d) durable.step(event::DeviceReady{DeviceId{d}, {10, 0, 0}}, Time{});
  ASSERT_TRUE(durable.flush().ok());
  const std::vector<JournalRecord> records = store.journal.recover().value().records;
  ASSERT_EQ(records.size(), 4u);
  GivenJournal whole(records);
  EXPECT_TRUE(DurableMachine::recover(whole).ok());
  for (std::size_t missing = 0; missing < 3; ++missing) {
    std::vector<JournalRecord> rest = records;
    rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(missing));
    GivenJournal journal(rest);
    const auto recovered = DurableMachine::recover(journal);
    ASSERT_FALSE(recovered.ok());
    EXPECT_EQ(recovered.error().code(), ErrorCode::kCorrupt);
    EXPECT_THAT(recovered.error().message(), ::testing::HasSubstr("gap after event " + std::to_string(missing)));
  }
}

TEST(DurableMachine, RefusesAJournalThatDoesNotReplay) {
  MemoryStore store;
  const JournalRecord wrong{1, Time{}, event::DeviceReady{DeviceId{1}, {}}, 12345};
  ASSERT_TRUE(store.journal.recover().ok());
  ASSERT_TRUE(store.journal.append(std::span(&wrong, 1)).ok());
  const auto recovered = DurableMachine::recover(store.journal);
  ASSERT_FALSE(recovered.ok());
  EXPECT_EQ(recovered.error().code(), ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace shoal::coordinator
