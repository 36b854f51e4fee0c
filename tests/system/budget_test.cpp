// One job for devices with different budgets, in real processes: who trains what, what is sent, and who is told that he
// is left out.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "tests/support/federation.h"

namespace shoal::testing {
namespace {

using ::testing::HasSubstr;

TEST(Budget, EveryDeviceTrainsWhatItHasMemoryForAndOneWithTooLittleIsTold) {
  Federation federation;
  federation.start_coordinator();
  const auto client = [&](const std::string& part, const std::string& budget) {
    return federation.add_client(
        {"trainer=engine", "data=procedural:1:3:40", "part=" + part, "partition.clients=3", "budget=" + budget});
  };
  const std::size_t free = client("0", "0"), small = client("1", "600KB"), tiny = client("2", "100KB");
  federation.await_online(3);
  const std::string model = federation.path("model.safetensors");
  ASSERT_EQ(
      federation.shoal({"model", "init", "--arch", "resnet8-gn", "--input", "1x28x28", "--classes", "10", model}).code,
      0);
  std::ofstream(federation.path("job.toml")) << "model = \"model.safetensors\"\nname = \"mixed\"\nrounds = 4\n"
                                                "[fedavg]\ncohort = 2\n"
                                                "[training]\nplan = \"full, head\"\nlearning_rate = 0.01\n";
  const Finished submitted = federation.shoal({"job", "submit", federation.path("job.toml"), "--json"});
  ASSERT_EQ(submitted.code, 0) << submitted.log;
  const Json job = Json::parse(submitted.output);
  ASSERT_EQ(job.at("plans").size(), 2u);
  EXPECT_EQ(job["plans"][0]["plan"], "full");
  EXPECT_GT(job["plans"][0]["memory"], 600'000) << "the command has filled in what a plan needs";
  EXPECT_LE(job["plans"][1]["memory"], 600'000);
  EXPECT_EQ(job["plans"][0]["devices"], 1);
  EXPECT_EQ(job["plans"][1]["devices"], 1);
  EXPECT_EQ(job["devices_left_out"], 1);

  const Json ended = federation.await_end(job.at("id").get<std::uint64_t>());
  EXPECT_EQ(ended.at("status"), "completed") << ended.dump();
  EXPECT_EQ(ended.at("updates"), 8);
  EXPECT_EQ(federation.receipts(free).size(), 4u);
  EXPECT_EQ(federation.receipts(small).size(), 4u);
  EXPECT_TRUE(federation.receipts(tiny).empty());

  // 77,754 parameters, of which 650 are the head's.
  const auto device = [&](std::size_t c) { return federation.admin("device.show", {{"id", c + 1}}); };
  EXPECT_GT(device(free).at("bytes_up"), 4 * 4 * 77'754);
  EXPECT_LT(device(small).at("bytes_up"), 4 * 4 * 650 + 20'000);
  EXPECT_EQ(device(small).at("memory_budget"), 600'000);

  EXPECT_NE(federation.client(tiny).await_log("left out", kPatience), std::string::npos);
  EXPECT_THAT(federation.client_log(tiny), HasSubstr("job mixed needs "));
  const Json refusal = device(tiny).at("last_refusal");
  EXPECT_EQ(refusal.at("reason"), "budget-too-small");
  EXPECT_THAT(refusal.at("detail").get<std::string>(), HasSubstr("its smallest plan, head"));
  EXPECT_EQ(federation.metric("shoal_refusals_total{reason=\"budget-too-small\"}"), 1);
  EXPECT_THAT(federation.shoal({"job", "show", "mixed"}).output, HasSubstr("left out"));
}

}  // namespace
}  // namespace shoal::testing
