// Real processes that are killed with SIGKILL in the middle of their work: nothing acknowledged is lost or counted
// twice.
#include <gtest/gtest.h>

#include <cstdio>
#include <map>

#include "base/rng.h"
#include "tests/support/federation.h"

namespace shoal::testing {
namespace {

constexpr std::uint64_t kFloats = 512 * 1024;  // 2 MiB: eight chunks, so that kills hit transfers and folds
constexpr std::size_t kDevices = 3;
constexpr std::uint64_t kRounds = 60;

// Every round waits for every device, so that what is folded does not depend on who is killed when.
std::string spec() {
  return "name = \"crash\"\nseed = 7\nrounds = " + std::to_string(kRounds) +
         "\n[fedavg]\ncohort = " + std::to_string(kDevices) + "\ndeadline = \"1h\"\n[optimizer]\nname = \"fedadam\"\n";
}

std::uint64_t begin(Federation& federation) {
  federation.start_coordinator();
  for (std::size_t i = 0; i < kDevices; ++i) federation.add_client();
  write_model(federation.path("model.safetensors"), kFloats);
  return federation.submit(spec(), federation.path("model.safetensors"));
}

// What must hold at the end of the job, whatever happened on the way.
void expect_all_counted_once(const Federation& federation, std::uint64_t job) {
  const Json summary = federation.await_end(job, std::chrono::minutes(2));
  EXPECT_EQ(summary.at("status"), "completed") << summary.dump();
  EXPECT_EQ(summary.at("version"), kRounds);
  EXPECT_EQ(summary.at("updates"), kRounds * kDevices);
  const Json rows = federation.admin("job.follow", {{"job", job}}).at("rows");
  // Rows are for people and written without a sync: a kill may cost the one of its own moment.
  EXPECT_GE(rows.size() + 20, kRounds);
  for (const Json& row : rows) EXPECT_EQ(row.at("received"), kDevices) << row.dump();
  std::set<std::uint64_t> all;
  for (std::size_t i = 0; i < federation.clients(); ++i) {
    const std::set<std::uint64_t> receipts = federation.receipts(i);
    EXPECT_EQ(receipts.size(), kRounds) << "receipts of client " << i;
    all.insert(receipts.begin(), receipts.end());
  }
  EXPECT_EQ(all.size(), kRounds * kDevices);
}

enum class Victim { kCoordinator, kClient };

// Twenty of each, in a drawn order.
std::vector<Victim> victims(Stream& draw) {
  std::vector<Victim> all(40, Victim::kClient);
  for (std::uint64_t i : draw.sample(all.size(), 20)) all[i] = Victim::kCoordinator;
  return all;
}

TEST(Crash, TwentyKillsOfTheCoordinatorAndTwentyOfClientsLeaveTheModelOfAnUninterruptedRun) {
  std::string undisturbed;
  {
    Federation federation;
    const std::uint64_t job = begin(federation);
    expect_all_counted_once(federation, job);
    undisturbed = federation.export_digest(job, "run");
  }

  Federation federation;
  const std::uint64_t job = begin(federation);
  Stream draw(2026, "kills");
  std::uint64_t version = 0;
  std::map<std::string, int> hit;  // what was under way, asked an instant before each kill
  for (const Victim victim : victims(draw)) {
    // The moment: so many microseconds into a round, during which the victim must not end by itself.
    version = federation.await_version(job, version + 1).at("version").get<std::uint64_t>();
    ASSERT_LT(version, kRounds) << "the job ended before all kills were made";
    const std::size_t client = draw.below(kDevices);
    Process& process = victim == Victim::kCoordinator ? federation.coordinator() : federation.client(client);
    ASSERT_FALSE(process.wait(std::chrono::microseconds(draw.below(60000)))) << process.log();
    const Json state = federation.admin("job.show", {{"job", job}});
    process.kill();
    ++hit[state.at("folding") == true ? "folding" : state.at("pending") > 0 ? "receiving" : "training"];
    if (victim == Victim::kCoordinator) {
      federation.start_coordinator();
    } else {
      federation.start_client(client);
    }
  }
  expect_all_counted_once(federation, job);
  EXPECT_EQ(federation.export_digest(job, "run"), undisturbed) << "other bits than without a crash";
  for (const auto& [phase, kills] : hit) std::printf("%d kills while the round was %s\n", kills, phase.c_str());
  EXPECT_GT(hit["receiving"] + hit["folding"], 0) << "no kill came between an upload's receipt and its fold";
}

}  // namespace
}  // namespace shoal::testing
