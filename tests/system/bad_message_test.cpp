// Control messages that are broken, too long, out of order or from the wrong peer, over real sockets.
#include <zmq.h>

#include "base/rng.h"
#include "protocol/keys.h"
#include "protocol/limits.h"
#include "protocol/wire.h"
#include "tests/system/bad_device.h"

namespace shoal::testing {
namespace {

using BadMessage = BadDevice;

std::vector<std::byte> noise(std::uint64_t seed, std::size_t bytes) {
  Stream stream(seed, "noise");
  std::vector<std::byte> all(bytes);
  for (std::byte& b : all) b = static_cast<std::byte>(stream.next32());
  return all;
}

TEST_F(BadMessage, NoiseIsMalformedAndTheSessionGoesOn) {
  for (std::size_t bytes : {0u, 1u, 7u, 8u, 100u, 4096u}) {
    bad.send_raw(noise(bytes, bytes));
    EXPECT_EQ(bad.expect_refusal(), Refusal::kMalformed) << bytes << " bytes";
  }
  EXPECT_EQ(host.refusals(Refusal::kMalformed), 6);
  expect_both_rounds();
}

TEST_F(BadMessage, EveryTruncationIsMalformed) {
  const std::vector<std::byte> whole =
      protocol::encode(protocol::DeviceMessage(ScriptedUpdate::of(bads, kFloats, 0).offer));
  for (std::size_t bytes = 0; bytes < whole.size(); bytes += 5) {
    bad.send_raw(std::span(whole).first(bytes));
    EXPECT_EQ(bad.expect_refusal(), Refusal::kMalformed) << bytes << " of " << whole.size() << " bytes";
  }
  expect_both_rounds();
}

// Shoal's own channel would not send it.
TEST_F(BadMessage, ATooLongMessageEndsItsOwnConnectionOnly) {
  const protocol::KeyPair keys = host.invite(host.unix_seconds + 60);
  void* context = zmq_ctx_new();
  void* socket = zmq_socket(context, ZMQ_DEALER);
  const auto set = [&](int option, const auto& key) {
    ASSERT_EQ(zmq_setsockopt(socket, option, key.data(), key.size()), 0);
  };
  set(ZMQ_CURVE_SERVERKEY, host.server_key());
  set(ZMQ_CURVE_PUBLICKEY, keys.public_key);
  set(ZMQ_CURVE_SECRETKEY, keys.secret_key);
  const int patience = 20000, never = -1;
  zmq_setsockopt(socket, ZMQ_RCVTIMEO, &patience, sizeof patience);
  zmq_setsockopt(socket, ZMQ_RECONNECT_IVL, &never, sizeof never);
  ASSERT_EQ(zmq_socket_monitor(socket, "inproc://events", ZMQ_EVENT_DISCONNECTED), 0);
  void* events = zmq_socket(context, ZMQ_PAIR);
  zmq_setsockopt(events, ZMQ_RCVTIMEO, &patience, sizeof patience);
  ASSERT_EQ(zmq_connect(events, "inproc://events"), 0);
  ASSERT_EQ(zmq_connect(socket, host.endpoint().c_str()), 0);
  const std::vector<std::byte> longest = noise(1, protocol::kMaxControlBytes),
                               longer = noise(1, 10 * protocol::kMaxControlBytes);
  std::array<char, 2048> answer;
  zmq_send(socket, longest.data(), longest.size(), 0);
  EXPECT_GT(zmq_recv(socket, answer.data(), answer.size(), 0), 0) << "at its limit it is answered";
  zmq_send(socket, longer.data(), longer.size(), 0);
  EXPECT_GT(zmq_recv(events, answer.data(), answer.size(), 0), 0) << "above it, nobody hung up";
  const int at_once = 0;
  for (void* s : {socket, events}) {
    zmq_setsockopt(s, ZMQ_LINGER, &at_once, sizeof at_once);
    zmq_close(s);
  }
  zmq_ctx_term(context);
  expect_both_rounds();
}

TEST_F(BadMessage, BeforeTheHelloNothingIsAnsweredButTheHello) {
  bad.connect();  // the earlier session is still the device's
  bad.send(ScriptedUpdate::of(bads, kFloats, 0.5f).offer);
  bad.send(message::FetchModel{bads});
  bad.send(message::Goodbye{});
  bad.send(ScriptedDevice::hello_of(10));
  bad.expect<message::Welcome>();
  EXPECT_EQ(bad.expect<message::Assign>().assignment.id, bads);
  expect_both_rounds();
}

TEST_F(BadMessage, AfterTheGoodbyeOnlyAHelloHelps) {
  bad.send(message::Goodbye{});
  bad.send(ScriptedUpdate::of(bads, kFloats, 0.5f).offer);
  EXPECT_EQ(bad.expect_refusal(), Refusal::kBusy);
  bad.send(ScriptedDevice::hello_of(10));
  bad.expect<message::Welcome>();
  EXPECT_EQ(bad.expect<message::Assign>().assignment.id, bads);
  expect_both_rounds();
}

TEST_F(BadMessage, HellosOverAndOverAreOneSession) {
  for (int i = 0; i < 20; ++i) {
    message::Hello hello = ScriptedDevice::hello_of(10);
    hello.working = bads;
    bad.send(hello);
    bad.expect<message::Welcome>();
  }
  EXPECT_EQ(host.refusals(Refusal::kReplacedSession), 0);
  expect_both_rounds();
}

TEST_F(BadMessage, AReconnectIsNoSecondSessionButAnotherProcessIs) {
  const auto last_refusal = [&] {
    return host.ask([](coordinator::Service& s) { return s.registry().find(DeviceId{2})->last_refusal; });
  };
  message::Hello hello = ScriptedDevice::hello_of(10);
  hello.working = bads;
  hello.process = 1;
  bad.join(hello);  // another than the fixture's
  EXPECT_EQ(host.refusals(Refusal::kReplacedSession), 1);
  EXPECT_EQ(last_refusal(), Refusal::kReplacedSession);
  bad.send_raw({});
  EXPECT_EQ(bad.expect_refusal(), Refusal::kMalformed);
  bad.join(hello);  // a new connection of the same, long before it is missed
  EXPECT_EQ(host.refusals(Refusal::kReplacedSession), 1);
  EXPECT_EQ(last_refusal(), Refusal::kMalformed) << "a reconnect hides what was refused";
  expect_both_rounds();
}

TEST_F(BadMessage, AFailureIsCountedAndShownAsTheDeviceTellsIt) {
  bad.send(message::TaskFailed{bads, "memory_limit is 1 MB", Refusal::kBudgetTooSmall});
  EXPECT_EQ(bad.expect_refusal(), Refusal::kBudgetTooSmall);
  EXPECT_EQ(host.refusals(Refusal::kBudgetTooSmall), 1);
  EXPECT_EQ(host.refusals(Refusal::kRoundAbandoned), 0);
  const auto record = host.ask([](coordinator::Service& s) { return *s.registry().find(DeviceId{2}); });
  EXPECT_EQ(record.last_refusal, Refusal::kBudgetTooSmall);
  EXPECT_EQ(record.last_refusal_detail, "memory_limit is 1 MB");
  expect_good_round();
}

TEST_F(BadMessage, TenThousandRefusalsAreAHandfulOfWrites) {
  std::atomic<int> puts = 0;
  host.set_fault([&](coordinator::StoreOperation operation) -> Status {
    puts += operation == coordinator::StoreOperation::kPut;
    return {};
  });
  for (int i = 0; i < 10000; ++i) {
    bad.send_raw({});
    ASSERT_EQ(bad.expect_refusal(), Refusal::kMalformed);
  }
  EXPECT_EQ(host.refusals(Refusal::kMalformed), 10000);
  EXPECT_LE(puts, 20);
  host.end();
  EXPECT_GE(puts, 1) << "the newest is written at the end";
  EXPECT_EQ(coordinator::Registry::load(host.store.journal).value()->find(DeviceId{2})->last_refusal,
            Refusal::kMalformed);
}

TEST_F(BadMessage, AnswersToWorkThatWasNotGivenAreReplayed) {
  bad.send(message::FetchModel{goods});
  EXPECT_EQ(bad.expect_refusal(), Refusal::kReplayed);
  bad.send(message::FetchModel{});
  EXPECT_EQ(bad.expect_refusal(), Refusal::kReplayed);
  bad.send(message::EvaluationDone{goods, {10, 5, 1.0}});
  EXPECT_EQ(bad.expect_refusal(), Refusal::kReplayed);
  bad.send(message::TaskFailed{goods, "not mine"});
  EXPECT_EQ(bad.expect_refusal(), Refusal::kReplayed);
  expect_both_rounds();
}

TEST_F(BadMessage, AnEvaluationWhereTrainingWasAskedForEndsTheWork) {
  bad.send(message::EvaluationDone{bads, {10, 5, 1.0}});
  EXPECT_EQ(bad.expect_refusal(), Refusal::kMalformed);
  expect_good_round();
}

TEST_F(BadMessage, OnlyInvitationsAreRedeemed) {
  message::Redeem redeem;
  redeem.name = "again";
  redeem.device_key = protocol::make_key_pair().value().public_key;
  bad.send(redeem);
  EXPECT_EQ(bad.expect_refusal(), Refusal::kMalformed);
  EXPECT_EQ(host.ask([](coordinator::Service& s) { return s.registry().size(); }), 2u);
  expect_both_rounds();
}

TEST_F(BadMessage, AnInvitationAdmitsToNothingButRedeeming) {
  ScriptedDevice guest = host.stranger(host.invite(host.unix_seconds + 60));
  guest.connect();
  guest.send(ScriptedDevice::hello_of(10));
  EXPECT_EQ(guest.expect_refusal(), Refusal::kUnknownKey);
  guest.send(message::FetchModel{goods});
  EXPECT_EQ(guest.expect_refusal(), Refusal::kUnknownKey);
  message::Redeem redeem;
  redeem.name = "guest";
  redeem.device_key = protocol::make_key_pair().value().public_key;
  for (int i = 0; i < 2; ++i) {  // redeeming again with the same key is the same
    guest.send(redeem);
    EXPECT_EQ(guest.expect<message::Redeemed>().device, DeviceId{3});
  }
  expect_both_rounds();
}

TEST_F(BadMessage, VersionsThatDoNotMeetSayWhichSideIsOld) {
  message::Hello old = ScriptedDevice::hello_of(10), young = old;
  old.oldest = old.newest = protocol::kOldestProtocol - 1;
  young.oldest = young.newest = protocol::kNewestProtocol + 1;
  bad.connect();
  bad.send(old);
  EXPECT_EQ(bad.expect_refusal(), Refusal::kClientTooOld);
  bad.send(young);
  EXPECT_EQ(bad.expect_refusal(), Refusal::kCoordinatorTooOld);
  young.oldest = protocol::kNewestProtocol;  // speaks ours too
  young.working = bads;
  bad.send(young);
  EXPECT_EQ(bad.expect<message::Welcome>().protocol, protocol::kNewestProtocol);
  expect_both_rounds();
}

TEST_F(BadMessage, AFloodOfMessagesFromOneDeviceLeavesTheOtherItsRound) {
  const std::vector<std::byte> junk = noise(3, 200);
  for (int i = 0; i < 20000; ++i) bad.send_raw(junk);
  good_delivers();
}

}  // namespace
}  // namespace shoal::testing
