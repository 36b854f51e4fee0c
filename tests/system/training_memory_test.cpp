// A device trains a model of nineteen megabytes on images of 224 x 224, within a bound of what its process has
// resident: arena, model and update, the code of oneDNN's primitives, libraries.
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>

#include "base/rng.h"
#include "tests/support/federation.h"

namespace shoal::testing {
namespace {

constexpr Duration kTraining = std::chrono::minutes(5);  // one step, on a busy machine

// Two batches of eight random images.
void write_images(const std::string& path) {
  constexpr std::uint64_t kRows = 16, kPixels = 3 * 224 * 224;
  const std::string header =
      Json{{"y", {{"dtype", "I64"}, {"shape", {kRows}}, {"data_offsets", {0, 8 * kRows}}}},
           {"x",
            {{"dtype", "U8"}, {"shape", {kRows, 3, 224, 224}}, {"data_offsets", {8 * kRows, (8 + kPixels) * kRows}}}}}
          .dump();
  std::ofstream file(path, std::ios::binary);
  const auto write = [&](std::uint64_t number) { file.write(reinterpret_cast<const char*>(&number), sizeof number); };
  write(header.size());
  file << header;
  for (std::uint64_t row = 0; row < kRows; ++row) write(row % 102);
  Stream draw(1, "images");
  for (std::uint64_t i = 0; i < kRows * kPixels / 8; ++i) write(draw.next64());
}

class TrainingMemory : public ::testing::Test {
 protected:
  void SetUp() override {
#ifdef SHOAL_SANITIZED
    GTEST_SKIP() << "a sanitizer takes memory of its own";
#endif
    federation_.start_coordinator();
    write_images(federation_.path("images.safetensors"));
    const Finished made = federation_.shoal({"model", "init", "--arch", "proxyless-mobile-lite", "--input", "3x224x224",
                                             "--classes", "102", federation_.path("model.safetensors")});
    ASSERT_EQ(made.code, 0) << made.log;
  }
  // A client, and a job that it alone can complete.
  std::unique_ptr<Process> train(const std::string& budget) {
    ProcessOptions options = federation_.client_command(
        federation_.path("device"),
        {"data=" + federation_.path("images.safetensors"), "test_fraction=0", "trainer=engine", "budget=" + budget},
        federation_.invite());
    auto client = std::make_unique<Process>(std::move(options));
    if (client->await_log("online as device", kPatience) == std::string::npos)
      throw std::runtime_error("the client does not come online: " + client->log());
    job_ = federation_.submit(
        "name = \"limited\"\nrounds = 1\n[fedavg]\ncohort = 1\ndeadline = \"1h\"\n[training]\nplan = \"lite+bias\"\n"
        "batch_size = 8\noptimizer = \"adam\"\nlearning_rate = 0.001\n",
        federation_.path("model.safetensors"));
    return client;
  }

  Federation federation_;
  std::uint64_t job_ = 0;
};

// A budget, and what the whole process may have resident with it: 80 MB for a device of 80 MB.
struct Bound {
  const char* budget;
  std::uint64_t process;
};

class WithBudget : public TrainingMemory, public ::testing::WithParamInterface<Bound> {};
INSTANTIATE_TEST_SUITE_P(TrainingMemory, WithBudget,
                         ::testing::Values(Bound{"44MB", 95'000'000}, Bound{"32MB", 80'000'000}),
                         [](const auto& bound) { return std::string(bound.param.budget); });

TEST_P(WithBudget, TheEngineTrainsProxylessMobileInABoundedProcess) {
  const auto client = train(GetParam().budget);
  if (client->await_log("update received", kTraining) == std::string::npos)
    FAIL() << "ended with " << client->wait(Duration::zero()).value_or(-1) << ": " << client->log();
  EXPECT_EQ(federation_.await_end(job_).at("status"), "completed");
  const std::uint64_t peak = client->peak_memory();
  std::printf("budget %s: most that was resident, with mapped files: %.1f MB\n", GetParam().budget,
              static_cast<double>(peak) / 1e6);
  EXPECT_GT(peak, 0u);
  EXPECT_LT(peak, GetParam().process);
}

}  // namespace
}  // namespace shoal::testing
