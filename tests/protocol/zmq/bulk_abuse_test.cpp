// Bad tickets, bad peers and broken stores: each ends its own transfer with a clear error and costs nobody else
// anything.
#include <gtest/gtest.h>

#include <optional>

#include "protocol/zmq/bulk.h"
#include "tests/protocol/zmq/bulk_world.h"
#include "tests/protocol/zmq/rude_client.h"

namespace shoal::protocol::zmq {
namespace {

using namespace std::chrono_literals;

ErrorCode code_of(const Status& status) {
  EXPECT_FALSE(status.ok());
  return status.ok() ? ErrorCode::kFailed : status.error().code();
}

class BulkAbuse : public ::testing::Test {
 protected:
  Ticket upload_ticket(std::shared_ptr<ChunkSink> sink, Duration validity = 1min) {
    return server_->offer_upload(object_.info, 0, std::move(sink), validity).value();
  }
  Status upload(const Ticket& ticket) {
    return make_bulk_client()->upload(ticket, object_.info, 0, object_, kPatience, forever);
  }
  std::shared_ptr<OpeningSink> sink() const { return std::make_shared<OpeningSink>(object_); }

  ManualClock clock_;
  SealedObject object_{10 * kChunkBytes};
  std::unique_ptr<BulkServer> server_ = bulk_server({.stall = 60s, .clock = &clock_});
};

TEST_F(BulkAbuse, AnExpiredTicketIsDenied) {
  const Ticket ticket = upload_ticket(sink(), 1min);
  clock_.advance(1min);
  EXPECT_EQ(code_of(upload(ticket)), ErrorCode::kDenied);
  EXPECT_EQ(server_->counters().handshakes_denied, 1u);
}

TEST_F(BulkAbuse, AUsedTicketIsDenied) {
  const Ticket ticket = upload_ticket(sink());
  ASSERT_TRUE(upload(ticket).ok());
  EXPECT_EQ(code_of(upload(ticket)), ErrorCode::kDenied);
}

TEST_F(BulkAbuse, AWithdrawnTicketIsDeniedAndItsSinkReleased) {
  std::weak_ptr<OpeningSink> watched;
  Ticket ticket;
  {
    const auto stored = sink();
    watched = stored;
    ticket = upload_ticket(stored);
  }
  server_->withdraw(ticket.user);
  EXPECT_TRUE(watched.expired());
  EXPECT_EQ(code_of(upload(ticket)), ErrorCode::kDenied);
}

TEST_F(BulkAbuse, AWrongSecretIsDeniedAndTheTicketStaysGood) {
  const Ticket ticket = upload_ticket(sink());
  Ticket forged = ticket;
  forged.secret.back() = forged.secret.back() == '0' ? '1' : '0';
  EXPECT_EQ(code_of(upload(forged)), ErrorCode::kDenied);
  EXPECT_TRUE(upload(ticket).ok());
}

TEST_F(BulkAbuse, WithdrawingEndsARunningUploadAndNothingIsWrittenAfterwards) {
  const auto stored = sink();
  std::atomic<bool> reached{false};
  stored->before_write = [&](std::uint32_t chunk) {
    if (chunk == 3) reached = true;
    return Status();
  };
  const Ticket ticket = upload_ticket(stored);
  object_.before_read = [&](std::uint32_t chunk) {
    if (chunk < 5) return Status();
    EXPECT_TRUE(eventually([&] { return reached.load(); }));
    server_->withdraw(ticket.user);
    return Status();
  };
  EXPECT_EQ(code_of(upload(ticket)), ErrorCode::kDenied);
  EXPECT_LE(stored->next.load(), 5u);
  EXPECT_FALSE(stored->completed);
}

TEST_F(BulkAbuse, AStalledUploadIsDropped) {
  std::weak_ptr<OpeningSink> watched;
  Ticket ticket;
  {
    const auto stored = sink();
    watched = stored;
    ticket = upload_ticket(stored);
  }
  object_.before_read = [&](std::uint32_t chunk) {
    if (chunk < 2) return Status();
    const bool dropped = eventually([&] {
      clock_.advance(60s);
      return watched.expired();
    });
    EXPECT_TRUE(dropped) << "the server lets go while the client sleeps";
    return Status();
  };
  EXPECT_EQ(code_of(upload(ticket)), ErrorCode::kTimeout);
}

TEST_F(BulkAbuse, ASinkThatFailsEndsTheTransferWithItsKindOfError) {
  const std::pair<ErrorCode, ErrorCode> told[] = {{ErrorCode::kExhausted, ErrorCode::kExhausted},
                                                  {ErrorCode::kCorrupt, ErrorCode::kCorrupt},
                                                  {ErrorCode::kNotFound, ErrorCode::kFailed}};
  for (const auto& [happened, heard] : told) {
    const auto stored = sink();
    stored->before_write = [happened = happened](std::uint32_t chunk) {
      return chunk == 4 ? Status(Error(happened, "/secret/path")) : Status();
    };
    const Status done = upload(upload_ticket(stored));
    EXPECT_EQ(code_of(done), heard);
    EXPECT_EQ(done.error().to_string().find("/secret"), std::string::npos)
        << "clients learn nothing of the server's disk";
  }
}

TEST_F(BulkAbuse, ASourceThatFailsEndsTheTransferOnBothSides) {
  const auto served = std::make_shared<SealedObject>(10 * kChunkBytes);
  served->before_read = [](std::uint32_t chunk) {
    return chunk == 4 ? Status(Error(ErrorCode::kFailed, "bad sector")) : Status();
  };
  OpeningSink fetched(*served);
  const Ticket down = server_->offer_download(served->info, served, 1min).value();
  EXPECT_FALSE(make_bulk_client()->download(down, served->info, 0, fetched, kPatience, forever).ok());
  EXPECT_FALSE(fetched.completed);

  std::weak_ptr<OpeningSink> watched;
  Ticket up;
  {
    const auto stored = sink();
    watched = stored;
    up = upload_ticket(stored);
  }
  object_.before_read = [](std::uint32_t chunk) {
    return chunk == 4 ? Status(Error(ErrorCode::kNotFound, "gone")) : Status();
  };
  EXPECT_EQ(code_of(upload(up)), ErrorCode::kNotFound) << "the client's own error is the client's";
  EXPECT_TRUE(eventually([&] { return watched.expired(); })) << "and the server is told";
}

TEST_F(BulkAbuse, KeepGoingEndsAWaitingTransfer) {
  const auto stored = sink();
  std::atomic<bool> release{false};
  stored->before_write = [&](std::uint32_t) {
    EXPECT_TRUE(eventually([&] { return release.load(); }));
    return Status();
  };
  int asked = 0;
  const Status done = make_bulk_client()->upload(upload_ticket(stored), object_.info, 0, object_, kPatience,
                                                 [&] { return ++asked < 20; });
  EXPECT_EQ(code_of(done), ErrorCode::kTimeout);
  release = true;
  server_.reset();  // its thread may be about to look at `release`
}

TEST_F(BulkAbuse, MessagesOutOfOrderEndOnlyTheirOwnTransfer) {
  constexpr auto kWhole = static_cast<std::uint32_t>(kMaxBulkBodyBytes);
  const std::vector<BulkFrame> after_put = {
      {BulkKind::kChunk, 1, 0, kWhole},      // skips one
      {BulkKind::kChunk, 0, 0, kWhole - 1},  // too short
      {BulkKind::kChunk, 9999, 0, kWhole},   // beyond the end
      {BulkKind::kPut, 0, 0, 0},             // again
      {BulkKind::kAck, 0, 8, 0},             // as if it were a download
      {BulkKind::kDone, 10, 0, 0},           // that is the server's to say
  };
  for (const BulkFrame& bad : after_put) {
    const auto stored = sink();
    RudeClient rude(upload_ticket(stored));
    rude.say({BulkKind::kPut, 0, 0, 0});
    auto heard = rude.hear();
    ASSERT_TRUE(heard);
    EXPECT_EQ(heard->kind, BulkKind::kAck);
    rude.say(bad);
    heard = rude.hear();
    ASSERT_TRUE(heard);
    EXPECT_EQ(heard->kind, BulkKind::kFailed);
    EXPECT_EQ(heard->index, static_cast<std::uint32_t>(BulkFailure::kGrammar));
    EXPECT_EQ(stored->next.load(), 0u);
    EXPECT_TRUE(upload(upload_ticket(sink())).ok()) << "others go on";
  }
}

TEST_F(BulkAbuse, AcksOutOfOrderEndADownload) {
  const auto served = std::make_shared<SealedObject>(10 * kChunkBytes);
  const std::vector<BulkFrame> bad_starts = {{BulkKind::kAck, 11, 8, 0}, {BulkKind::kPut, 0, 0, 0}};
  for (const BulkFrame& bad : bad_starts) {
    RudeClient rude(server_->offer_download(served->info, served, 1min).value());
    rude.say(bad);
    const auto heard = rude.hear();
    ASSERT_TRUE(heard);
    EXPECT_EQ(heard->kind, BulkKind::kFailed);
  }
  RudeClient rude(server_->offer_download(served->info, served, 1min).value());
  rude.say({BulkKind::kAck, 0, 1, 0});
  ASSERT_EQ(rude.hear()->kind, BulkKind::kChunk);
  rude.say({BulkKind::kAck, 5, 1, 0});  // of chunks that were never sent
  EXPECT_EQ(rude.hear()->kind, BulkKind::kFailed);
}

TEST_F(BulkAbuse, AChunkBeyondTheGrantIsRefused) {
  server_ = bulk_server({.stall = 60s, .chunks_in_flight = 1, .clock = &clock_});
  RudeClient first(upload_ticket(sink())), second(upload_ticket(sink()));
  first.say({BulkKind::kPut, 0, 0, 0});
  EXPECT_EQ(first.hear(), (BulkFrame{BulkKind::kAck, 0, 1, 0}));
  second.say({BulkKind::kPut, 0, 0, 0});
  EXPECT_EQ(second.hear(), (BulkFrame{BulkKind::kAck, 0, 0, 0})) << "the only room is taken";
  second.say({BulkKind::kChunk, 0, 0, static_cast<std::uint32_t>(kMaxBulkBodyBytes)});
  EXPECT_EQ(second.hear()->kind, BulkKind::kFailed);
}

TEST_F(BulkAbuse, GarbageEndsOnlyItsOwnTransfer) {
  RudeClient rude(upload_ticket(sink()));
  rude.say({BulkKind::kPut, 0, 0, 0});
  ASSERT_EQ(rude.hear()->kind, BulkKind::kAck);
  rude.say_bytes("not a bulk message");
  EXPECT_EQ(rude.hear()->kind, BulkKind::kFailed);
  rude.say_bytes("");
  EXPECT_TRUE(upload(upload_ticket(sink())).ok());
}

TEST_F(BulkAbuse, WhatComesAfterATransfersEndIsCountedToItsAccount) {
  const Account account{DeviceId{3}, JobId{~0ull}};
  RudeClient rude(server_->offer_upload(object_.info, 0, sink(), 1min, account).value());
  rude.say({BulkKind::kPut, 0, 0, 0});
  ASSERT_EQ(rude.hear()->kind, BulkKind::kAck);
  rude.say_bytes("not a bulk message");
  ASSERT_EQ(rude.hear()->kind, BulkKind::kFailed);
  const std::uint64_t header = framed_bytes(kBulkHeaderBytes);
  const auto sent = [&] { return server_->counters().bytes_sent; };
  EXPECT_TRUE(eventually([&] { return sent() > 2 * header; }));  // an ack and the failure
  const std::uint64_t before = sent();
  EXPECT_EQ(server_->take_traffic().at(account).up, header + framed_bytes(18));

  rude.say({BulkKind::kChunk, 0, 0, 1000});
  rude.say_bytes("");
  rude.say({BulkKind::kPut, 0, 0, 0});
  ASSERT_EQ(rude.hear()->kind, BulkKind::kFailed) << "the ticket is spent";
  EXPECT_TRUE(eventually([&] { return sent() > before; }));
  const auto late = server_->take_traffic();
  ASSERT_EQ(late.size(), 1u);
  EXPECT_EQ(late.at(account).up, 2 * header + framed_bytes(1000) + framed_bytes(0));
  EXPECT_EQ(late.at(account).down, sent() - before);
}

}  // namespace
}  // namespace shoal::protocol::zmq
