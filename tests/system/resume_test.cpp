// Transfers of 50 MB that break off half-way and go on where they were, over a slow link.
#include <gtest/gtest.h>

#include "protocol/sealed_object.h"
#include "tests/support/federation.h"
#include "tests/support/relay.h"

namespace shoal::testing {
namespace {

constexpr std::uint64_t kChunks = 200;
constexpr std::uint64_t kFloats = kChunks * protocol::kChunkBytes / sizeof(float);
constexpr std::uint64_t kSealed = kChunks * (protocol::kChunkBytes + protocol::kTagBytes);
constexpr std::uint64_t kSealedChunk = protocol::kChunkBytes + protocol::kTagBytes;
constexpr std::uint64_t kWindow = 8;  // chunks on their way at a time
// Handshakes, frames and credit around a transfer, far below a chunk.
constexpr std::uint64_t kOverhead = kSealedChunk / 2;
constexpr std::uint64_t kSlow = 40'000'000;  // bytes per second

// One device, whose bulk plane goes through a relay.
class Resume : public ::testing::Test {
 protected:
  void begin(const RelayRules& up, const RelayRules& down) {
    relay_ = Relay::start(federation_.bulk()).value();
    relay_->set_rules(up, down);
    federation_.start_coordinator({"advertised_bulk=" + relay_->endpoint()});
    federation_.add_client();
    write_model(federation_.path("model.safetensors"), kFloats);
    job_ = federation_.submit("name = \"resume\"\nrounds = 1\n[fedavg]\ncohort = 1\ndeadline = \"1h\"\n",
                              federation_.path("model.safetensors"));
  }
  void await_half(const std::function<std::uint64_t()>& moved) {
    federation_.await("half of the transfer", [&] { return moved() >= kSealed / 2; });
    ASSERT_LT(moved(), kSealed * 3 / 4);
  }
  void expect_completed() {
    EXPECT_EQ(federation_.await_end(job_).at("status"), "completed");
    EXPECT_EQ(federation_.receipts(0).size(), 1u);
  }
  void restart_coordinator() { federation_.start_coordinator({"advertised_bulk=" + relay_->endpoint()}); }

  Federation federation_;
  std::unique_ptr<Relay> relay_;
  std::uint64_t job_ = 0;
};

TEST_F(Resume, AClientKilledHalfWayThroughAnUploadSendsAtMostOneChunkTwice) {
  begin({.bytes_per_second = kSlow}, {});
  await_half([&] { return relay_->bytes_up(); });
  federation_.kill_client(0);
  federation_.start_client(0);
  expect_completed();
  EXPECT_EQ(federation_.metric("shoal_uploads_resumed_total"), 1);
  const auto chunks = static_cast<std::uint64_t>(federation_.metric("shoal_bulk_chunks_received_total"));
  EXPECT_GE(chunks, kChunks);
  EXPECT_LE(chunks, kChunks + 1);
  EXPECT_LE(relay_->bytes_up(), kSealed + kSealedChunk + kOverhead);
  RecordProperty("chunks", std::to_string(chunks));
  RecordProperty("bytes_beyond_one_upload", std::to_string(relay_->bytes_up() - kSealed));
}

// What was on its way to the killed client is lost: as much as the window that it had asked for.
TEST_F(Resume, AClientKilledHalfWayThroughADownloadFetchesOnlyTheWindowTwice) {
  begin({}, {.bytes_per_second = kSlow});
  await_half([&] { return relay_->bytes_down(); });
  federation_.kill_client(0);
  federation_.start_client(0);
  expect_completed();
  const auto chunks = static_cast<std::uint64_t>(federation_.metric("shoal_bulk_chunks_sent_total"));
  EXPECT_GE(chunks, kChunks);
  EXPECT_LE(chunks, kChunks + kWindow + 1);
  RecordProperty("chunks", std::to_string(chunks));
}

TEST_F(Resume, ACoordinatorKilledHalfWayThroughAnUploadAsksOnlyForWhatItDoesNotHold) {
  begin({.bytes_per_second = kSlow}, {});
  await_half([&] { return relay_->bytes_up(); });
  federation_.kill_coordinator();
  restart_coordinator();
  expect_completed();
  EXPECT_EQ(federation_.metric("shoal_uploads_resumed_total"), 1);
  EXPECT_LE(relay_->bytes_up(), kSealed + (kWindow + 1) * kSealedChunk + kOverhead);
}

TEST_F(Resume, ACutAndADamagedByteCostNoMoreThanTheWindow) {
  begin({.cut_after = kSealed / 3}, {});
  federation_.await("the cut", [&] { return relay_->bytes_up() >= kSealed / 3; });
  relay_->set_rules({.bytes_per_second = kSlow, .corrupt_at = kSealed / 3}, {});
  federation_.await("the damage",
                    [&] { return federation_.metric("shoal_refusals_total{reason=\"unsealable\"}") > 0; });
  relay_->set_rules({}, {});
  expect_completed();
  EXPECT_EQ(federation_.metric("shoal_refusals_total{reason=\"unsealable\"}"), 1);
  EXPECT_LE(relay_->bytes_up(), kSealed + 2 * (kWindow + 1) * kSealedChunk + kOverhead);
}

}  // namespace
}  // namespace shoal::testing
