#include "simulator/run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <vector>

#include "tests/simulator/temporary_folder.h"
#include "tests/simulator/world_support.h"

namespace shoal::simulator {
namespace {

using ::testing::HasSubstr;

class StoppedClock final : public Clock {
 public:
  Time now() const override { return {}; }
};

// Asks to stop after a number of rounds.
class Stopper final : public RunListener {
 public:
  void on_progress(const RoundRecord& record, Duration) override {
    if (record.version == after) stop = true;
  }
  void on_notice(std::string_view) override {}

  Version after = 0;
  std::atomic<bool> stop{false};
};

class RunTest : public ::testing::Test {
 protected:
  RunTest() {
    options_.job.rounds = 25;
    options_.checkpoint_every = 10;
    options_.population.availability.drop_out = 0.1;
    options_.job.policy = coordinator::PolicyKind::kFedBuff;
  }

  Result<RunSummary> run(const std::string& name, Version stop_after = 0, bool resume = false) {
    auto folder =
        resume ? RunFolder::open(folder_ / name) : RunFolder::create(folder_ / name, "model = \"logistic\"\n");
    if (!folder.ok()) return folder.error();
    Stopper listener;
    listener.after = stop_after;
    return run_experiment({options_, "", resume}, *folder, clock_, listener, listener.stop);
  }
  std::string file(const std::string& name) const { return text_of(folder_ / name); }
  std::vector<std::string> log(const std::string& name) const {
    std::istringstream in(file(name + "/log.txt"));
    std::vector<std::string> lines;
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
  }

  TemporaryFolder folder_;
  StoppedClock clock_;
  ExperimentOptions options_ = small_experiment(TrainingKind::kSynthetic);
};

TEST_F(RunTest, LeavesEverythingInItsFolder) {
  const auto summary = run("a");
  ASSERT_TRUE(summary.ok()) << summary.error().to_string();
  EXPECT_EQ(summary->end, RunEnd::kCompleted);
  EXPECT_EQ(summary->version, 25u);
  const std::string metrics = file("a/metrics.jsonl");
  EXPECT_EQ(std::count(metrics.begin(), metrics.end(), '\n'), 25);
  EXPECT_THAT(metrics, HasSubstr("\"version\":25"));
  EXPECT_THAT(metrics, HasSubstr(summary->digest.hex()));
  EXPECT_THAT(file("a/report.html"), HasSubstr("<svg"));
  EXPECT_THAT(file("a/model.safetensors"), HasSubstr("shoal-model 1"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "a/checkpoint"));
  const auto lines = log("a");
  EXPECT_THAT(lines.front(), ::testing::StartsWith("seed 7, build "));
  EXPECT_THAT(lines.back(),
              ::testing::AllOf(::testing::StartsWith("seed 7, build "), HasSubstr(summary->digest.hex())));
}

TEST_F(RunTest, EqualRunsWriteEqualBytesForAnyNumberOfWorkers) {
  ASSERT_TRUE(run("one").ok());
  options_.workers = 3;
  ASSERT_TRUE(run("three").ok());
  EXPECT_EQ(file("one/metrics.jsonl"), file("three/metrics.jsonl"));
  EXPECT_EQ(file("one/model.safetensors"), file("three/model.safetensors"));
}

TEST_F(RunTest, AnInterruptedRunResumesToTheSameBytes) {
  ASSERT_TRUE(run("whole").ok());
  const auto stopped = run("broken", 13);
  ASSERT_TRUE(stopped.ok());
  EXPECT_EQ(stopped->end, RunEnd::kInterrupted);
  EXPECT_LT(stopped->version, 25u);
  options_.workers = 2;
  const auto resumed = run("broken", 0, true);
  ASSERT_TRUE(resumed.ok()) << resumed.error().to_string();
  EXPECT_EQ(resumed->end, RunEnd::kCompleted);
  EXPECT_EQ(file("broken/metrics.jsonl"), file("whole/metrics.jsonl"));
  EXPECT_EQ(file("broken/model.safetensors"), file("whole/model.safetensors"));
}

// What was written after the checkpoint, by a run that was killed, is done again and not twice.
TEST_F(RunTest, MetricsBeyondTheCheckpointAreCutOff) {
  ASSERT_TRUE(run("whole").ok());
  ASSERT_TRUE(run("killed", 13).ok());
  std::ofstream(folder_ / "killed/metrics.jsonl", std::ios::app) << "{\"version\":14,\"torn";
  ASSERT_TRUE(run("killed", 0, true).ok());
  EXPECT_EQ(file("killed/metrics.jsonl"), file("whole/metrics.jsonl"));
}

TEST_F(RunTest, AFolderTakesOneRunOnly) {
  ASSERT_TRUE(run("a").ok());
  const auto again = run("a");
  ASSERT_FALSE(again.ok());
  EXPECT_EQ(again.error().code(), ErrorCode::kInvalid);
  const auto resumed = run("a", 0, true);
  ASSERT_FALSE(resumed.ok());
  EXPECT_EQ(resumed.error().code(), ErrorCode::kNotFound);
}

TEST_F(RunTest, ADamagedCheckpointIsRefused) {
  ASSERT_TRUE(run("a", 5).ok());
  const std::string whole = file("a/checkpoint");
  for (std::size_t length : {std::size_t{0}, std::size_t{11}, whole.size() - 1}) {
    write_text(folder_ / "a/checkpoint", whole.substr(0, length));
    const auto resumed = run("a", 0, true);
    ASSERT_FALSE(resumed.ok()) << length;
    EXPECT_EQ(resumed.error().code(), ErrorCode::kCorrupt);
  }
}

TEST(ExperimentCheck, NamesContradictions) {
  ExperimentOptions options = small_experiment(TrainingKind::kTorch);
  EXPECT_THAT(check(options).error().message(), HasSubstr("data.source"));
  options = small_experiment(TrainingKind::kNone);
  options.population.devices = 0;
  EXPECT_THAT(check(options).error().message(), HasSubstr("population.devices"));
  options = small_experiment(TrainingKind::kNone);
  options.target_accuracy = 0.9;
  EXPECT_THAT(check(options).error().message(), HasSubstr("target_accuracy"));
  options = small_experiment(TrainingKind::kNone);
  options.population.availability.online.mean = 10;
  EXPECT_THAT(check(options).error().message(), HasSubstr("offline"));
  EXPECT_TRUE(check(small_experiment(TrainingKind::kSynthetic)).ok());
}

}  // namespace
}  // namespace shoal::simulator
