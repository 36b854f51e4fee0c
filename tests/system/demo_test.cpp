// deploy/demo as a newcomer runs it: it learns, leaves what it says it leaves, and no process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "tests/support/process.h"
#include "tests/support/temporary_folder.h"

namespace shoal::testing {
namespace {

using ::testing::HasSubstr;

constexpr Duration kLongestRun = std::chrono::minutes(5);
constexpr Duration kLongestStop = std::chrono::seconds(30);

// The demo in a process group of its own, none of which outlives the object.
class Demo {
 public:
  explicit Demo(const std::string& results)
      : process_({{"/usr/bin/setsid", SHOAL_SOURCE_DIR "/deploy/demo", SHOAL_BINARY_DIR "/bin", results}, {}}) {}
  ~Demo() { ::kill(-process_.pid(), SIGKILL); }

  Process& process() { return process_; }
  // As Ctrl-C on a terminal.
  void interrupt() { ::kill(-process_.pid(), SIGINT); }
  bool anybody_left() const { return ::kill(-process_.pid(), 0) == 0 || errno != ESRCH; }

 private:
  Process process_;
};

TEST(Demo, LearnsAndLeavesItsResultsAndNoProcess) {
  const TemporaryFolder folder;
  const std::string results = folder.file("results");
  Demo demo(results);
  ASSERT_EQ(demo.process().wait(kLongestRun), 0) << demo.process().output() << demo.process().log();
  EXPECT_FALSE(demo.anybody_left());

  std::vector<double> accuracies;
  std::ifstream metrics(results + "/run/metrics.jsonl");
  for (std::string line; std::getline(metrics, line);) {
    const auto row = nlohmann::json::parse(line);
    if (row.contains("accuracy")) accuracies.push_back(row["accuracy"]);
  }
  ASSERT_GE(accuracies.size(), 10u);
  EXPECT_LT(accuracies.front(), 0.3);
  // One device evaluates a round, with a few hundred examples: five of them say more than the last.
  EXPECT_GT(std::accumulate(accuracies.end() - 5, accuracies.end(), 0.0) / 5, 0.9);
  for (const char* file : {"model.safetensors", "report.html"}) {
    const std::string path = results + "/run/" + file;
    EXPECT_THAT(demo.process().output(), HasSubstr(path));
    EXPECT_GT(std::filesystem::file_size(path), 1000u) << path;
  }
}

TEST(Demo, StopsEverythingWhenItIsInterrupted) {
  const TemporaryFolder folder;
  Demo demo(folder.file("results"));
  const auto half_way = [&] { return demo.process().output().find("round 5/") != std::string::npos; };
  const auto until = std::chrono::steady_clock::now() + kLongestRun;
  while (!half_way()) {
    ASSERT_FALSE(demo.process().wait(std::chrono::milliseconds(20))) << demo.process().output() << demo.process().log();
    ASSERT_LT(std::chrono::steady_clock::now(), until);
  }
  demo.interrupt();
  EXPECT_EQ(demo.process().wait(kLongestStop), 130);
  EXPECT_FALSE(demo.anybody_left());
}

}  // namespace
}  // namespace shoal::testing
