// A real coordinator on a real small disk that its uploads fill up.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "tests/support/federation.h"

namespace shoal::testing {
namespace {

using ::testing::HasSubstr;

constexpr std::uint64_t kMiB = 1 << 20;
constexpr std::uint64_t kFloats = 1'000'000;  // updates of 4 MB
constexpr std::uint64_t kRounds = 24;
constexpr std::uint64_t kReserve = 16 * kMiB;  // min_free_disk
// Room for some of the rounds while the ballast lies there, and for all of them when it is gone.
constexpr std::uint64_t kDisk = 192 * kMiB, kBallast = 104 * kMiB;

// A small disk at `path`, in a mount namespace of this thread and the programs that it starts: whatever happens, the
// mount ends with them. False, with errno, without the right to do that.
bool mount_disk(const std::string& path) {
  std::filesystem::create_directories(path);
  const std::string options = "size=" + std::to_string(kDisk);
  return ::unshare(CLONE_NEWNS) == 0 && ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         ::mount("shoal-test", path.c_str(), "tmpfs", 0, options.c_str()) == 0;
}

// What an operator might find to delete. All of it is written: tmpfs keeps no promise of room.
void write_ballast(const std::string& path) {
  std::ofstream out(path, std::ios::binary);
  const std::string piece(kMiB, 'b');
  for (std::uint64_t i = 0; i < kBallast / kMiB; ++i) out << piece;
  if (!out.flush()) throw std::runtime_error("the ballast does not fit");
}

TEST(FullDisk, UploadsFillItAndGoOnByThemselvesWhenThereIsRoomAgain) {
  Federation federation({"min_free_disk=" + std::to_string(kReserve / kMiB) + "MiB"});
  const std::string disk = federation.data(), ballast = disk + "/ballast";
  if (!mount_disk(disk)) GTEST_SKIP() << "a tmpfs cannot be mounted: " << std::strerror(errno) << "; run as root";
  write_ballast(ballast);
  federation.start_coordinator();
  federation.await("readiness", [&] { return federation.get("/readyz").status == 200; });
  federation.add_client();
  write_model(federation.path("model.safetensors"), kFloats);
  // Every update is kept, so that each round takes its bytes from the disk.
  const std::uint64_t job = federation.submit("name = \"kept\"\nrounds = " + std::to_string(kRounds) +
                                                  "\nretain_updates = true\n[fedavg]\ncohort = 1\ndeadline = \"1h\"\n",
                                              federation.path("model.safetensors"));

  EXPECT_NE(federation.coordinator().await_log("the disk is full", kPatience), std::string::npos);
  federation.await("the full disk", [&] { return federation.get("/readyz").status == 503; });
  EXPECT_EQ(federation.get("/healthz").status, 200);
  EXPECT_EQ(federation.metric("shoal_storage_full"), 1);
  EXPECT_TRUE(federation.admin("status").at("storage_full"));
  const Json stopped = federation.admin("job.show", {{"job", job}});
  EXPECT_EQ(stopped.at("status"), "running");
  EXPECT_LT(stopped.at("version"), kRounds);
  EXPECT_GT(stopped.at("version"), 0u) << "uploads should have filled the disk, not the start";

  std::filesystem::remove(ballast);
  EXPECT_NE(federation.coordinator().await_log("the disk has room again", kPatience), std::string::npos);
  const Json end = federation.await_end(job);
  EXPECT_EQ(end.at("status"), "completed") << end.dump();
  EXPECT_EQ(end.at("version"), kRounds);
  EXPECT_EQ(end.at("updates"), federation.receipts(0).size()) << "an acknowledged update was lost";
  EXPECT_EQ(federation.get("/readyz").status, 200);
  EXPECT_EQ(federation.stop_coordinator(), 0);
}

}  // namespace
}  // namespace shoal::testing
