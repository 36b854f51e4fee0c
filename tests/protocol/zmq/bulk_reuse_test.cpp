// One connection for one transfer after the other, each with its own ticket.
#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "protocol/zmq/bulk.h"
#include "tests/protocol/zmq/bulk_world.h"
#include "tests/protocol/zmq/rude_client.h"
#include "tests/support/relay.h"

namespace shoal::protocol::zmq {
namespace {

using namespace std::chrono_literals;
using shoal::testing::Relay;

constexpr Account kDevice{DeviceId{1}, JobId{7}}, kOtherJob{DeviceId{1}, JobId{8}}, kOtherDevice{DeviceId{2}, JobId{7}};
constexpr BulkFrame kPut{BulkKind::kPut, 0, 0, 0}, kFetch{BulkKind::kAck, 0, 1, 0};

class BulkReuse : public ::testing::Test {
 protected:
  void SetUp() override { start_server(); }

  // Again at the same address.
  void start_server() {
    const std::string endpoint = server_ ? server_->endpoint() : "tcp://127.0.0.1:*";
    server_.reset();
    BulkServerOptions options;
    options.endpoint = endpoint;
    options.stall = 60s;
    options.clock = &clock_;
    server_ = make_bulk_server(options).value();
    if (!relay_) relay_ = Relay::start(server_->endpoint()).value();
  }

  std::shared_ptr<OpeningSink> sink() const { return std::make_shared<OpeningSink>(*object_); }
  Ticket upload_ticket(std::shared_ptr<ChunkSink> sink, Account account = kDevice) {
    return server_->offer_upload(object_->info, 0, std::move(sink), 1min, account).value();
  }
  Ticket upload_ticket(Account account = kDevice) { return upload_ticket(sink(), account); }
  Ticket download_ticket(Account account = kDevice) {
    return server_->offer_download(object_->info, object_, 1min, account).value();
  }

  // Through the relay.
  Status send(const Ticket& ticket, const std::function<bool()>& keep_going = forever) {
    return client_->upload(through(ticket, relay_->endpoint()), object_->info, 0, *object_, kPatience, keep_going);
  }
  Status fetch(const Ticket& ticket) {
    OpeningSink fetched(*object_);
    return client_->download(through(ticket, relay_->endpoint()), object_->info, 0, fetched, kPatience, forever);
  }

  ManualClock clock_;
  std::shared_ptr<SealedObject> object_ = std::make_shared<SealedObject>(10 * kChunkBytes);
  std::unique_ptr<BulkServer> server_;
  std::unique_ptr<Relay> relay_;
  std::unique_ptr<BulkClient> client_ = make_bulk_client();
};

TEST_F(BulkReuse, OneConnectionCarriesTransfersInBothDirections) {
  for (int round = 0; round < 3; ++round) {
    EXPECT_TRUE(fetch(download_ticket()).ok());
    const auto stored = sink();
    EXPECT_TRUE(send(upload_ticket(stored)).ok());
    EXPECT_TRUE(stored->completed);
  }
  EXPECT_EQ(relay_->connections(), 1u);
  EXPECT_EQ(client_->counters().chunks_sent, 30u);
  EXPECT_EQ(client_->counters().chunks_received, 30u);
  EXPECT_EQ(server_->counters().handshakes_denied, 0u);
}

TEST_F(BulkReuse, EachTransferIsCountedToTheAccountOfItsTicket) {
  const Ticket first = upload_ticket(kDevice), second = upload_ticket(kOtherJob);
  ASSERT_TRUE(send(first).ok());
  ASSERT_TRUE(send(second).ok());
  ASSERT_EQ(relay_->connections(), 1u);
  const std::uint64_t upload =
      11 * framed_bytes(kBulkHeaderBytes) + 10 * framed_bytes(kMaxBulkBodyBytes);  // a put and ten chunks
  const std::uint64_t ticket = framed_bytes(encode(BulkTicket{second.user, second.secret}).size());
  std::map<Account, Traffic> moved;
  EXPECT_TRUE(eventually([&] {  // a done is counted after it was sent
    for (const auto& [account, traffic] : server_->take_traffic()) moved[account] += traffic;
    Traffic sum;
    for (const auto& [account, traffic] : moved) sum += traffic;
    return sum == Traffic{client_->counters().bytes_sent, client_->counters().bytes_received};
  }));
  EXPECT_EQ(moved.size(), 2u);
  EXPECT_EQ(moved[kDevice].up, upload);
  EXPECT_EQ(moved[kOtherJob].up, upload + ticket);
}

TEST_F(BulkReuse, AnotherEndpointOrAFailureTakesANewConnection) {
  ASSERT_TRUE(send(upload_ticket()).ok());
  OpeningSink fetched(*object_);
  ASSERT_TRUE(client_->download(download_ticket(), object_->info, 0, fetched, kPatience, forever).ok());
  ASSERT_TRUE(send(upload_ticket()).ok());
  EXPECT_EQ(relay_->connections(), 2u);

  const auto full = sink();
  full->before_write = [](std::uint32_t) { return Status(Error(ErrorCode::kExhausted, "full")); };
  EXPECT_FALSE(send(upload_ticket(full)).ok());
  EXPECT_EQ(relay_->connections(), 2u);
  EXPECT_TRUE(send(upload_ticket()).ok());
  EXPECT_EQ(relay_->connections(), 3u);
  EXPECT_GE(client_->counters().chunks_sent, 30u) << "those of closed connections, too";
}

TEST_F(BulkReuse, AnIdleConnectionIsClosedWhenItIsOldEnough) {
  ASSERT_TRUE(send(upload_ticket()).ok());
  client_->close_idle(1h);
  ASSERT_TRUE(send(upload_ticket()).ok());
  EXPECT_EQ(relay_->connections(), 1u);
  client_->close_idle(0s);
  client_->close_idle(0s);
  ASSERT_TRUE(send(upload_ticket()).ok());
  EXPECT_EQ(relay_->connections(), 2u);
}

TEST_F(BulkReuse, AConnectionThatIsCutBetweenTransfersIsMadeAnew) {
  for (std::uint64_t connections = 1; connections <= 5; ++connections) {
    EXPECT_TRUE(fetch(download_ticket()).ok());
    EXPECT_TRUE(send(upload_ticket()).ok());
    EXPECT_EQ(relay_->connections(), connections);
    relay_->cut();
  }
}

TEST_F(BulkReuse, AServerThatCameBackIsFound) {
  for (std::uint64_t connections = 1; connections <= 3; ++connections) {
    EXPECT_TRUE(send(upload_ticket()).ok());
    EXPECT_TRUE(fetch(download_ticket()).ok());
    EXPECT_EQ(relay_->connections(), connections);
    start_server();
  }
}

TEST_F(BulkReuse, AnOpeningThatIsLostOnTheWayIsSaidAgain) {
  relay_->set_rules({.delay = 500ms}, {});
  ASSERT_TRUE(send(upload_ticket()).ok());
  relay_->set_rules({}, {});
  const Status done = send(upload_ticket(), [&] {
    if (relay_->connections() == 1) relay_->cut();  // asked while the opening is still on its way
    return true;
  });
  EXPECT_TRUE(done.ok()) << done.error().to_string();
  EXPECT_EQ(relay_->connections(), 2u);
}

TEST_F(BulkReuse, AnAnswerThatIsLostOnTheWayCostsTheTicket) {
  relay_->set_rules({}, {.delay = 500ms});
  ASSERT_TRUE(send(upload_ticket()).ok());
  relay_->set_rules({}, {});
  const auto stored = sink();
  const Ticket ticket = upload_ticket(stored);
  // The server counts what it says: an ack beside those of the first transfer.
  const std::uint64_t said = server_->counters().bytes_sent;
  const Status done = send(ticket, [&] {
    if (server_->counters().bytes_sent > said) relay_->cut();
    return true;
  });
  ASSERT_FALSE(done.ok());
  EXPECT_EQ(done.error().code(), ErrorCode::kDenied) << done.error().to_string();
  EXPECT_EQ(stored->next.load(), 0u);
  server_->withdraw(ticket.user);
  EXPECT_TRUE(send(upload_ticket(stored)).ok());
  EXPECT_TRUE(stored->completed);
}

TEST_F(BulkReuse, ABadTicketIsRefusedAndCostsNobodyAnything) {
  const Ticket spent = upload_ticket();
  ASSERT_TRUE(send(spent).ok());
  const Ticket running = upload_ticket(), good = upload_ticket(), of_another = upload_ticket(kOtherDevice);
  Ticket forged = good;
  forged.secret.back() = forged.secret.back() == '0' ? '1' : '0';
  const Ticket withdrawn = upload_ticket();
  server_->withdraw(withdrawn.user);
  const Ticket expired = upload_ticket();
  clock_.advance(1min);
  const Ticket own = upload_ticket(), next = upload_ticket(), last = download_ticket(kOtherJob);

  RudeClient rude(own);
  rude.say({BulkKind::kFailed, static_cast<std::uint32_t>(BulkFailure::kAbandoned), 0, 0});  // outside of a transfer
  for (const Ticket& bad : {spent, forged, withdrawn, expired, Ticket{{}, "nobody", "knows"}, good, of_another}) {
    rude.say(kPut, bad);
    EXPECT_EQ(rude.hear_failure(), BulkFailure::kWithdrawn);
    rude.say(kFetch, bad);
    EXPECT_EQ(rude.hear_failure(), BulkFailure::kWithdrawn);
  }
  for (const std::string_view garbage :
       {std::string_view("\0ab", 3), std::string_view("\3abc"), std::string_view("\377abc")}) {
    rude.say(kPut, garbage);
    EXPECT_EQ(rude.hear_failure(), BulkFailure::kWithdrawn);
  }
  rude.say(kPut, next);
  EXPECT_EQ(rude.hear()->kind, BulkKind::kAck) << "the connection is as good as before";
  rude.say({BulkKind::kFailed, static_cast<std::uint32_t>(BulkFailure::kAbandoned), 0, 0});
  rude.say(kPut, next);
  EXPECT_EQ(rude.hear_failure(), BulkFailure::kWithdrawn) << "once";
  rude.say(kFetch, last);
  EXPECT_EQ(rude.hear()->kind, BulkKind::kChunk);
}

TEST_F(BulkReuse, ATicketOfAnotherDeviceOrWithAWrongSecretStaysGood) {
  const Ticket ticket = upload_ticket(kOtherDevice);
  Ticket forged = ticket;
  forged.secret = "wrong";
  RudeClient rude(upload_ticket());
  for (const Ticket& tried : {ticket, forged}) {
    rude.say(kPut, tried);
    EXPECT_EQ(rude.hear_failure(), BulkFailure::kWithdrawn);
  }
  EXPECT_TRUE(send(ticket).ok());
}

TEST_F(BulkReuse, AnOpeningWhileATransferRunsEndsItAndSpendsNoTicket) {
  for (const BulkFrame& opening : {kPut, kFetch}) {
    for (const bool upload : {true, false}) {
      std::weak_ptr<OpeningSink> watched;
      RudeClient rude(download_ticket());
      if (upload) {
        const auto stored = sink();
        watched = stored;
        rude.say(kPut, upload_ticket(stored));
        ASSERT_EQ(rude.hear()->kind, BulkKind::kAck);
      } else {
        rude.say(kFetch);
        ASSERT_EQ(rude.hear()->kind, BulkKind::kChunk);
      }
      const Ticket next = opening == kPut ? upload_ticket() : download_ticket();
      rude.say(opening, next);
      EXPECT_EQ(rude.hear_failure(), BulkFailure::kGrammar);
      EXPECT_TRUE(eventually([&] { return watched.expired(); }));
      EXPECT_TRUE(opening == kPut ? send(next).ok() : fetch(next).ok());
    }
  }
}

}  // namespace
}  // namespace shoal::protocol::zmq
