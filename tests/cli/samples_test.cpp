// The files in configs/: samples show every option with its default and sentence, experiments load.
//
// SHOAL_UPDATE_SAMPLES=1 writes the samples anew after an option changed: ./dev build && SHOAL_UPDATE_SAMPLES=1 ./dev
// test -R cli
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include "cli/config.h"
#include "cli/job_file.h"
#include "client/options.h"
#include "coordinator/service_options.h"
#include "simulator/experiment.h"

namespace shoal::cli {
namespace {

const std::filesystem::path kConfigs = std::filesystem::path(SHOAL_SOURCE_DIR) / "configs";
const std::set<std::string> kSamples = {"client.toml", "coordinator.toml", "job.toml"};

template <class Options>
void expect_fresh(const std::string& name) {
  const std::string expected = print(Options{}, Docs::kWith);
  const std::filesystem::path path = kConfigs / name;
  if (std::getenv("SHOAL_UPDATE_SAMPLES") != nullptr) std::ofstream(path) << expected;
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  EXPECT_EQ(text.str(), expected) << name << " is out of date; run SHOAL_UPDATE_SAMPLES=1 ./dev test -R cli";
}

TEST(Samples, AreFresh) {
  expect_fresh<client::ClientOptions>("client.toml");
  expect_fresh<coordinator::ServiceOptions>("coordinator.toml");
  expect_fresh<JobFile>("job.toml");
}

TEST(Samples, ExperimentsLoadAndAreConsistent) {
  int experiments = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kConfigs)) {
    if (kSamples.count(entry.path().filename().string()) > 0) continue;
    ++experiments;
    simulator::ExperimentOptions options;
    const Status loaded = load_file(entry.path().string(), options);
    ASSERT_TRUE(loaded.ok()) << loaded.error().to_string();
    const Status consistent = simulator::check(options);
    ASSERT_TRUE(consistent.ok()) << entry.path() << ": " << consistent.error().to_string();
  }
  EXPECT_GT(experiments, 0);
}

}  // namespace
}  // namespace shoal::cli
