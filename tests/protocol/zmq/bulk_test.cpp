// Sealed objects over real loopback sockets, in both directions, with cuts and resumption.
#include "protocol/zmq/bulk.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "protocol/bulk_frame.h"
#include "protocol/zmq/socket.h"
#include "tests/protocol/zmq/bulk_world.h"
#include "tests/support/relay.h"

namespace shoal::protocol::zmq {
namespace {

using namespace std::chrono_literals;
using shoal::testing::Relay;

constexpr std::uint64_t kFiftyMegabytes = 50'000'000;

class Sizes : public ::testing::TestWithParam<std::uint64_t> {};

TEST_P(Sizes, AnObjectArrivesInBothDirections) {
  const auto server = bulk_server();
  const auto client = make_bulk_client();
  const auto object = std::make_shared<SealedObject>(GetParam());

  const auto stored = std::make_shared<OpeningSink>(*object);
  const Ticket up = server->offer_upload(object->info, 0, stored, 1min).value();
  const Status uploaded = client->upload(up, object->info, 0, *object, kPatience, forever);
  EXPECT_TRUE(uploaded.ok()) << uploaded.error().to_string();
  EXPECT_TRUE(stored->completed) << "complete() comes before the client is told";

  OpeningSink fetched(*object);
  const Ticket down = server->offer_download(object->info, object, 1min).value();
  const Status downloaded = client->download(down, object->info, 0, fetched, kPatience, forever);
  EXPECT_TRUE(downloaded.ok()) << downloaded.error().to_string();
  EXPECT_TRUE(fetched.completed);

  const std::uint32_t chunks = object->info.chunks();
  EXPECT_EQ(server->counters().chunks_received, chunks);
  EXPECT_TRUE(eventually([&] { return server->counters().chunks_sent == chunks; }));
  EXPECT_EQ(client->counters().chunks_received, chunks);
  EXPECT_EQ(client->counters().chunks_sent, chunks);
}

INSTANTIATE_TEST_SUITE_P(Bulk, Sizes,
                         ::testing::Values(0, 1, kChunkBytes - 1, kChunkBytes, kChunkBytes + 1, 20 * kChunkBytes,
                                           5'000'000));

TEST(Bulk, AnUploadCutInTheMiddleResumesAndSendsAtMostOneChunkTwice) {
  const auto server = bulk_server();
  const auto relay = Relay::start(server->endpoint()).value();
  SealedObject object(kFiftyMegabytes);
  const auto stored = std::make_shared<OpeningSink>(object);

  relay->set_rules({.cut_after = kFiftyMegabytes / 2}, {});
  const Ticket first = server->offer_upload(object.info, 0, stored, 1min).value();
  const Status broken =
      make_bulk_client()->upload(through(first, relay->endpoint()), object.info, 0, object, kPatience, forever);
  ASSERT_FALSE(broken.ok());
  EXPECT_EQ(broken.error().code(), ErrorCode::kUnavailable) << broken.error().to_string();
  // What passed the relay before the cut is written, except for the chunk that it tore.
  const std::uint32_t torn_after = kFiftyMegabytes / 2 / (kChunkBytes + 100);
  ASSERT_TRUE(eventually([&] { return stored->next >= torn_after; }));
  server->withdraw(first.user);

  relay->set_rules({}, {});
  const std::uint32_t held = stored->next;
  const Ticket second = server->offer_upload(object.info, held, stored, 1min).value();
  const Status resumed =
      make_bulk_client()->upload(through(second, relay->endpoint()), object.info, held, object, kPatience, forever);
  ASSERT_TRUE(resumed.ok()) << resumed.error().to_string();
  EXPECT_TRUE(stored->completed);

  EXPECT_LE(server->counters().chunks_received, object.info.chunks() + 1u);
  const std::uint64_t overhead = 64 * object.info.chunks() + 2000;  // headers and handshakes
  EXPECT_LE(relay->bytes_up(), object.info.sealed_bytes() + kMaxBulkBodyBytes + overhead);
}

TEST(Bulk, ADownloadCutInTheMiddleResumesWhereItWas) {
  const auto server = bulk_server();
  const auto relay = Relay::start(server->endpoint()).value();
  const auto object = std::make_shared<SealedObject>(kFiftyMegabytes);
  OpeningSink fetched(*object);
  const auto client = make_bulk_client();

  relay->set_rules({}, {.cut_after = kFiftyMegabytes / 2});
  Ticket ticket = server->offer_download(object->info, object, 1min).value();
  ASSERT_FALSE(client->download(through(ticket, relay->endpoint()), object->info, 0, fetched, kPatience, forever).ok());
  EXPECT_GT(fetched.next.load(), 0u);

  relay->set_rules({}, {});
  ticket = server->offer_download(object->info, object, 1min).value();
  const Status resumed =
      client->download(through(ticket, relay->endpoint()), object->info, fetched.next, fetched, kPatience, forever);
  ASSERT_TRUE(resumed.ok()) << resumed.error().to_string();
  EXPECT_TRUE(fetched.completed);
  EXPECT_EQ(client->counters().chunks_received, object->info.chunks()) << "no chunk arrived twice";
}

TEST(Bulk, CorruptionOnTheWayNeverDeliversABadChunk) {
  const auto server = bulk_server({.stall = 1s});
  SealedObject object(3 * kChunkBytes);
  // Offsets beyond the handshake: bodies, a tag, and headers of ZeroMQ's and our own.
  const std::uint64_t positions[] = {
      700, 1'000, 100'000, kChunkBytes + 300, kChunkBytes + 345, kChunkBytes + 400, 2 * kChunkBytes};
  int unsealable = 0;
  for (const std::uint64_t position : positions) {
    const auto relay = Relay::start(server->endpoint()).value();
    relay->set_rules({.corrupt_at = position}, {});
    const auto stored = std::make_shared<OpeningSink>(object);  // checks each chunk that opens
    const Ticket ticket = server->offer_upload(object.info, 0, stored, 1min).value();
    const Status done =
        make_bulk_client()->upload(through(ticket, relay->endpoint()), object.info, 0, object, 2s, forever);
    EXPECT_FALSE(done.ok()) << "byte " << position;
    EXPECT_FALSE(stored->completed);
    if (!done.ok() && done.error().to_string().find("open") != std::string::npos) ++unsealable;
    server->withdraw(ticket.user);
  }
  EXPECT_GE(unsealable, 3);
}

TEST(Bulk, SlowAndDelayedLinksAreOnlySlow) {
  const auto server = bulk_server();
  const auto relay = Relay::start(server->endpoint()).value();
  SealedObject object(4 * kChunkBytes);
  relay->set_rules({.delay = 20ms, .bytes_per_second = 4'000'000}, {.delay = 20ms});
  const auto stored = std::make_shared<OpeningSink>(object);
  const Ticket ticket = server->offer_upload(object.info, 0, stored, 1min).value();
  const auto started = std::chrono::steady_clock::now();
  const Status done =
      make_bulk_client()->upload(through(ticket, relay->endpoint()), object.info, 0, object, kPatience, forever);
  EXPECT_TRUE(done.ok()) << done.error().to_string();
  EXPECT_GE(std::chrono::steady_clock::now() - started, 250ms) << "the relay throttles";
}

TEST(Bulk, ParallelUploadsShareFairly) {
  constexpr int kClients = 4;
  constexpr std::uint32_t kChunks = 40;
  const auto server = bulk_server();
  std::vector<std::unique_ptr<SealedObject>> objects;
  std::vector<std::shared_ptr<OpeningSink>> sinks;
  std::atomic<int> ready{0};
  std::atomic<std::uint32_t> least_at_first_end{kChunks};
  std::vector<std::thread> clients;
  for (int i = 0; i < kClients; ++i) {
    objects.push_back(std::make_unique<SealedObject>(kChunks * kChunkBytes, 10 + i));
    sinks.push_back(std::make_shared<OpeningSink>(*objects.back()));
  }
  std::atomic<bool> first_end{false};
  for (int i = 0; i < kClients; ++i) {
    objects[i]->before_read = [&](std::uint32_t chunk) {
      if (chunk == 0) ++ready;
      while (ready < kClients) std::this_thread::yield();  // all start together
      return Status();
    };
    sinks[i]->before_write = [&](std::uint32_t chunk) {
      if (chunk + 1 == kChunks && !first_end.exchange(true))
        for (const auto& sink : sinks) least_at_first_end = std::min(least_at_first_end.load(), sink->next.load());
      return Status();
    };
    const Ticket ticket = server->offer_upload(objects[i]->info, 0, sinks[i], 1min).value();
    clients.emplace_back([&, i, ticket] {
      const Status done = make_bulk_client()->upload(ticket, objects[i]->info, 0, *objects[i], kPatience, forever);
      EXPECT_TRUE(done.ok()) << done.error().to_string();
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_GE(least_at_first_end.load(), kChunks / 2);
}

TEST(Bulk, MoreTransfersThanRoomWaitForEachOther) {
  const auto server = bulk_server({.chunks_in_flight = 2});
  const auto object = std::make_shared<SealedObject>(6 * kChunkBytes);
  std::vector<std::thread> clients;
  for (int i = 0; i < 6; ++i) {
    clients.emplace_back([&, i] {
      if (i % 2 == 0) {
        const auto stored = std::make_shared<OpeningSink>(*object);
        const Ticket ticket = server->offer_upload(object->info, 0, stored, 1min).value();
        const Status done = make_bulk_client()->upload(ticket, object->info, 0, *object, kPatience, forever);
        EXPECT_TRUE(done.ok()) << done.error().to_string();
      } else {
        OpeningSink fetched(*object);
        const Ticket ticket = server->offer_download(object->info, object, 1min).value();
        const Status done = make_bulk_client()->download(ticket, object->info, 0, fetched, kPatience, forever);
        EXPECT_TRUE(done.ok()) << done.error().to_string();
      }
    });
  }
  for (std::thread& client : clients) client.join();
}

TEST(Bulk, CountedBytesAreThoseOnTheWire) {
  const auto server = bulk_server();
  const auto relay = Relay::start(server->endpoint()).value();
  const auto wire_of = [&](std::uint64_t bytes) {
    SealedObject object(bytes);
    const std::uint64_t wire = relay->bytes_up(), counted = server->counters().bytes_received;
    const auto stored = std::make_shared<OpeningSink>(object);
    const Ticket ticket = server->offer_upload(object.info, 0, stored, 1min).value();
    EXPECT_TRUE(make_bulk_client()
                    ->upload(through(ticket, relay->endpoint()), object.info, 0, object, kPatience, forever)
                    .ok());
    return std::pair(relay->bytes_up() - wire, server->counters().bytes_received - counted);
  };
  const auto [small_wire, small_counted] = wire_of(0);  // the handshake, and no chunk
  const auto [large_wire, large_counted] = wire_of(5 * kChunkBytes + 100);
  EXPECT_EQ(large_wire - small_wire, large_counted - small_counted);
}

TEST(Bulk, EachAccountHasItsOwnBytesAndTogetherTheyAreAllThatWasMoved) {
  const auto object = std::make_shared<SealedObject>(20 * kChunkBytes);  // outlives the sinks in the server
  const auto server = bulk_server();
  const auto relay = Relay::start(server->endpoint()).value();
  const std::uint64_t header = framed_bytes(kBulkHeaderBytes), chunks = object->info.chunks();
  const std::uint64_t bytes = object->info.sealed_bytes(), framed = chunks * framed_bytes(kMaxBulkBodyBytes);
  const Account uploads{DeviceId{1}, JobId{7}}, downloads{DeviceId{2}, JobId{7}}, breaks_off{DeviceId{1}, JobId{8}};
  std::map<Account, Traffic> moved;
  const auto taken = [&](const Account& account) {
    for (const auto& [of, traffic] : server->take_traffic()) moved[of] += traffic;
    return moved[account];
  };

  const Ticket up =
      server->offer_upload(object->info, 0, std::make_shared<OpeningSink>(*object), 1min, uploads).value();
  ASSERT_TRUE(make_bulk_client()->upload(up, object->info, 0, *object, kPatience, forever).ok());
  OpeningSink fetched(*object);
  const Ticket down = server->offer_download(object->info, object, 1min, downloads).value();
  ASSERT_TRUE(make_bulk_client()->download(down, object->info, 0, fetched, kPatience, forever).ok());
  // The server was through with the upload, its done included, when it turned to the download. One way are a put and
  // the chunks; the other way acks, as many as the receiver sees fit, and a done.
  const auto are_headers = [&](std::uint64_t n) {
    return n % header == 0 && n >= 2 * header && n <= (chunks + 1) * header;
  };
  const Traffic uploaded = taken(uploads);
  EXPECT_EQ(uploaded.up, (chunks + 1) * header + framed);
  EXPECT_TRUE(are_headers(uploaded.down)) << uploaded.down;

  relay->set_rules({.cut_after = bytes / 2}, {});
  const Ticket cut =
      server->offer_upload(object->info, 0, std::make_shared<OpeningSink>(*object), 1min, breaks_off).value();
  ASSERT_FALSE(
      make_bulk_client()->upload(through(cut, relay->endpoint()), object->info, 0, *object, kPatience, forever).ok());
  EXPECT_TRUE(eventually([&] { return taken(breaks_off).up > bytes / 2 - 2 * kMaxBulkBodyBytes; }));
  EXPECT_LT(moved[breaks_off].up, bytes / 2);
  EXPECT_TRUE(eventually([&] { return taken(downloads).down == chunks * header + framed; }));
  EXPECT_TRUE(are_headers(moved[downloads].up)) << moved[downloads].up;
  EXPECT_EQ(moved[uploads], uploaded);
  EXPECT_EQ(moved.size(), 3u);
  const bool all = eventually([&] {
    taken(uploads);
    Traffic sum;
    for (const auto& [account, traffic] : moved) sum += traffic;
    const BulkCounters counters = server->counters();
    return sum == Traffic{counters.bytes_received, counters.bytes_sent};
  });
  EXPECT_TRUE(all) << "nothing is counted twice or to nobody";
}

}  // namespace
}  // namespace shoal::protocol::zmq
