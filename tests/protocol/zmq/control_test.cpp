// The control plane on real loopback sockets: who gets in, who is who, and what bad peers cannot do to others.
#include "protocol/zmq/control.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <mutex>
#include <thread>

#include "protocol/keys.h"
#include "protocol/limits.h"
#include "protocol/zmq/curve.h"
#include "protocol/zmq/socket.h"
#include "tests/support/relay.h"

namespace shoal::protocol::zmq {
namespace {

using namespace std::chrono_literals;
using SteadyClock = std::chrono::steady_clock;

constexpr auto kPatience = 20s;

std::vector<std::byte> bytes_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

std::span<const std::byte> text_bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

// A control server with a list of keys that it knows.
class Hall {
 public:
  Hall() {
    auto made =
        make_control_server({.endpoint = "tcp://127.0.0.1:*", .keys = keys_, .admission = [this](const PublicKey& key) {
                               return look_up(key);
                             }});
    server_ = std::move(made).value();
  }

  void enrol(const PublicKey& key, PeerClass peer_class = PeerClass::kDevice) {
    const std::lock_guard lock(mutex_);
    known_[key] = peer_class;
  }
  KeyPair enrolled_keys(PeerClass peer_class = PeerClass::kDevice) {
    const KeyPair keys = make_key_pair().value();
    enrol(keys.public_key, peer_class);
    return keys;
  }

  std::unique_ptr<ControlChannel> channel(const KeyPair& keys, std::string endpoint = "", Duration limit = kPatience) {
    if (endpoint.empty()) endpoint = server_->endpoint();
    return make_control_channel({endpoint, keys_.public_key, keys, limit}).value();
  }

  // The next message, waiting for it.
  std::optional<Incoming> next() {
    const auto deadline = SteadyClock::now() + kPatience;
    while (arrived_.empty() && SteadyClock::now() < deadline)
      for (Incoming& message : server_->poll(100ms)) arrived_.push_back(std::move(message));
    if (arrived_.empty()) return std::nullopt;
    Incoming first = std::move(arrived_.front());
    arrived_.erase(arrived_.begin());
    return first;
  }

  ControlServer& server() { return *server_; }
  const PublicKey& public_key() const { return keys_.public_key; }

 private:
  std::optional<PeerClass> look_up(const PublicKey& key) {
    const std::lock_guard lock(mutex_);
    const auto found = known_.find(key);
    return found == known_.end() ? std::nullopt : std::optional(found->second);
  }

  const KeyPair keys_ = make_key_pair().value();
  std::mutex mutex_;
  std::map<PublicKey, PeerClass> known_;
  std::unique_ptr<ControlServer> server_;
  std::vector<Incoming> arrived_;
};

std::optional<ChannelEvent> next_event(ControlChannel& channel) {
  const auto deadline = SteadyClock::now() + kPatience;
  while (SteadyClock::now() < deadline)
    if (auto event = channel.poll(100ms)) return event;
  return std::nullopt;
}

bool connects(ControlChannel& channel) {
  const auto event = next_event(channel);
  return event && std::holds_alternative<Connected>(*event);
}

Disconnected disconnection(ControlChannel& channel) {
  auto event = next_event(channel);
  if (event && std::holds_alternative<Disconnected>(*event)) return std::get<Disconnected>(*event);
  ADD_FAILURE() << "the channel did not end";
  return {};
}

// A DEALER that can do what a channel never would.
Socket rude_dealer(Context& context, const Hall& hall, const KeyPair& keys) {
  Socket dealer(context, ZMQ_DEALER);
  dealer.set(ZMQ_LINGER, 1000);
  dealer.set(ZMQ_CURVE_SERVERKEY, as_text(hall.public_key()));
  dealer.set(ZMQ_CURVE_PUBLICKEY, as_text(keys.public_key));
  dealer.set(ZMQ_CURVE_SECRETKEY, as_text(keys.secret_key));
  return dealer;
}

int connect_raw(const std::string& endpoint) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(std::stoi(endpoint.substr(endpoint.rfind(':') + 1))));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  return fd;
}

TEST(Control, AKnownDeviceTalksAndIsWhoItsKeySays) {
  Hall hall;
  const KeyPair keys = hall.enrolled_keys();
  const auto channel = hall.channel(keys);
  channel->send(text_bytes("hello"));
  ASSERT_TRUE(connects(*channel));

  const auto message = hall.next();
  ASSERT_TRUE(message);
  EXPECT_EQ(message->payload, bytes_of("hello"));
  EXPECT_EQ(message->peer.key, keys.public_key);
  EXPECT_EQ(message->peer.peer_class, PeerClass::kDevice);

  hall.server().send(message->peer, text_bytes("welcome"));
  const auto answer = next_event(*channel);
  ASSERT_TRUE(answer && std::holds_alternative<std::vector<std::byte>>(*answer));
  EXPECT_EQ(std::get<std::vector<std::byte>>(*answer), bytes_of("welcome"));
}

TEST(Control, AnUnknownKeyIsDeniedAtTheHandshake) {
  Hall hall;
  const auto channel = hall.channel(make_key_pair().value());
  channel->send(text_bytes("let me in"));
  const Disconnected end = disconnection(*channel);
  EXPECT_TRUE(end.denied) << end.reason;
  EXPECT_TRUE(hall.server().poll(0s).empty());
}

TEST(Control, ClassesOfPeersArriveWithTheirMessages) {
  Hall hall;
  for (const PeerClass peer_class : {PeerClass::kInvitation, PeerClass::kRefused, PeerClass::kDevice}) {
    const auto channel = hall.channel(hall.enrolled_keys(peer_class));
    channel->send(text_bytes("x"));
    ASSERT_TRUE(connects(*channel));
    const auto message = hall.next();
    ASSERT_TRUE(message);
    EXPECT_EQ(message->peer.peer_class, peer_class);
  }
}

TEST(Control, AnotherServersKeyEndsTheHandshakeAsDenied) {
  Hall hall;
  const KeyPair keys = hall.enrolled_keys();
  const PublicKey wrong = make_key_pair()->public_key;
  const auto channel = make_control_channel({hall.server().endpoint(), wrong, keys}).value();
  const Disconnected end = disconnection(*channel);
  EXPECT_TRUE(end.denied) << end.reason;
  EXPECT_NE(end.reason.find("server key"), std::string::npos);
}

TEST(Control, AServerThatIsDownIsNotADenial) {
  std::string nowhere;
  {
    Hall hall;
    nowhere = hall.server().endpoint();
  }
  const auto direct = make_control_channel({nowhere, {1}, make_key_pair().value()}).value();
  EXPECT_FALSE(disconnection(*direct).denied);

  // Behind a proxy the connection is made, and closed at once.
  const auto relay = shoal::testing::Relay::start(nowhere).value();
  const auto proxied = make_control_channel({relay->endpoint(), {1}, make_key_pair().value()}).value();
  const Disconnected end = disconnection(*proxied);
  EXPECT_FALSE(end.denied) << end.reason;
}

TEST(Control, AServerThatNeverAnswersEndsTheAttemptInTime) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  const int silent = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(bind(silent, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(listen(silent, 8), 0);
  ASSERT_EQ(getsockname(silent, reinterpret_cast<sockaddr*>(&address), &size), 0);

  const std::string endpoint = "tcp://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  const auto channel = make_control_channel({endpoint, {1}, make_key_pair().value(), 300ms}).value();
  const Disconnected end = disconnection(*channel);
  EXPECT_FALSE(end.denied);
  EXPECT_NE(end.reason.find("no answer"), std::string::npos) << end.reason;
  EXPECT_FALSE(channel->poll(0s)) << "a channel ends once";
  close(silent);
}

TEST(Control, ALostConnectionIsToldAfterTheMessagesThatArrived) {
  Hall hall;
  const auto relay = shoal::testing::Relay::start(hall.server().endpoint()).value();
  const auto channel = hall.channel(hall.enrolled_keys(), relay->endpoint());
  channel->send(text_bytes("x"));
  ASSERT_TRUE(connects(*channel));
  const auto message = hall.next();
  ASSERT_TRUE(message);
  hall.server().send(message->peer, text_bytes("last words"));
  const auto answer = next_event(*channel);
  ASSERT_TRUE(answer && std::holds_alternative<std::vector<std::byte>>(*answer));
  relay->cut();
  EXPECT_FALSE(disconnection(*channel).denied);
  hall.server().send(message->peer, text_bytes("to nobody"));  // must not block or fail
}

TEST(Control, AClaimedRoutingIdIsNotAnIdentity) {
  Hall hall;
  const KeyPair victim = hall.enrolled_keys(), thief = hall.enrolled_keys();
  Context context;
  Socket forged = rude_dealer(context, hall, thief);
  forged.set(ZMQ_ROUTING_ID, z85_encode(victim.public_key));
  ASSERT_TRUE(forged.connect(hall.server().endpoint()).ok());
  forged.send(Message(std::string_view("User-Id: " + z85_encode(victim.public_key))), false);
  const auto message = hall.next();
  ASSERT_TRUE(message);
  EXPECT_EQ(message->peer.key, thief.public_key);

  // A second peer with the same routing id does not take the first one's place.
  Socket second = rude_dealer(context, hall, victim);
  second.set(ZMQ_ROUTING_ID, z85_encode(victim.public_key));
  ASSERT_TRUE(second.connect(hall.server().endpoint()).ok());
  second.send(Message(std::string_view("mine")), false);
  forged.send(Message(std::string_view("still me")), false);
  const auto still = hall.next();
  ASSERT_TRUE(still);
  EXPECT_EQ(still->peer.key, thief.public_key);
}

TEST(Control, OversizedAndManyFramedMessagesAreDroppedAndOthersServed) {
  Hall hall;
  Context context;
  Socket rude = rude_dealer(context, hall, hall.enrolled_keys());
  ASSERT_TRUE(rude.connect(hall.server().endpoint()).ok());
  rude.send(Message(std::string_view("one")), true);
  rude.send(Message(std::string_view("two")), false);
  rude.send(Message(std::string_view("fine")), false);
  auto message = hall.next();
  ASSERT_TRUE(message);
  EXPECT_EQ(message->payload, bytes_of("fine"));
  rude.send(Message(std::string_view(std::string(kMaxControlBytes + 1, 'x'))), false);
  rude.send(Message(std::string_view(std::string(1 << 20, 'x'))), false);

  const KeyPair good = hall.enrolled_keys();
  const auto channel = hall.channel(good);
  channel->send(std::vector<std::byte>(kMaxControlBytes));
  message = hall.next();
  ASSERT_TRUE(message);
  EXPECT_EQ(message->peer.key, good.public_key);
  EXPECT_EQ(message->payload.size(), kMaxControlBytes);
}

TEST(Control, HalfOpenConnectionsDoNotKeepAGoodClientOut) {
  Hall hall;
  std::vector<int> half_open;
  for (int i = 0; i < 2000; ++i) half_open.push_back(connect_raw(hall.server().endpoint()));

  const auto started = SteadyClock::now();
  const auto channel = hall.channel(hall.enrolled_keys());
  channel->send(text_bytes("hello"));
  EXPECT_TRUE(connects(*channel));
  EXPECT_TRUE(hall.next());
  EXPECT_LT(SteadyClock::now() - started, 5s);
  for (const int fd : half_open) close(fd);
}

TEST(Control, AConnectionThatDoesNotAuthenticateIsClosed) {
  const KeyPair keys = make_key_pair().value();
  const auto server = make_control_server({.endpoint = "tcp://127.0.0.1:0",
                                           .keys = keys,
                                           .admission = [](const PublicKey&) { return std::nullopt; },
                                           .handshake_limit = 200ms})
                          .value();
  const int fd = connect_raw(server->endpoint());
  const timeval limit{20, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  char greeting[64];
  ssize_t n = 0;
  while ((n = recv(fd, greeting, sizeof greeting, 0)) > 0) {
  }
  EXPECT_EQ(n, 0) << "the server hangs up";
  close(fd);
}

TEST(Control, WakeEndsAPollFromAnotherThread) {
  Hall hall;
  const auto channel = hall.channel(hall.enrolled_keys());
  ASSERT_TRUE(connects(*channel));
  std::thread other([&] {
    hall.server().wake();
    channel->wake();
  });
  EXPECT_TRUE(hall.server().poll(1h).empty());
  EXPECT_FALSE(channel->poll(1h));
  other.join();
}

TEST(Control, ServersOfOneProcessKeepTheirOwnLists) {
  Hall first, second;
  const KeyPair keys = first.enrolled_keys();
  EXPECT_TRUE(connects(*first.channel(keys)));
  EXPECT_TRUE(disconnection(*second.channel(keys)).denied);
}

TEST(Control, AGoodbyeLeavesBeforeTheChannelIsGone) {
  Hall hall;
  auto channel = hall.channel(hall.enrolled_keys());
  ASSERT_TRUE(connects(*channel));
  channel->send(text_bytes("goodbye"));
  channel.reset();
  const auto message = hall.next();
  ASSERT_TRUE(message);
  EXPECT_EQ(message->payload, bytes_of("goodbye"));
}

TEST(Control, CountedBytesAreThoseOnTheWire) {
  Hall hall;
  const auto relay = shoal::testing::Relay::start(hall.server().endpoint()).value();
  const auto channel = hall.channel(hall.enrolled_keys(), relay->endpoint());
  channel->send(text_bytes("x"));
  ASSERT_TRUE(connects(*channel));
  auto message = hall.next();
  ASSERT_TRUE(message);
  const std::uint64_t wire_up = relay->bytes_up(), wire_down = relay->bytes_down();
  const Traffic before = hall.server().traffic();
  Traffic told;  // of each message
  for (const std::size_t size : {0, 1, 221, 222, 223, 300, 5000}) {
    const std::vector<std::byte> payload(size);
    channel->send(payload);
    message = hall.next();
    ASSERT_TRUE(message);
    told.up += message->wire_bytes;
    told.down += hall.server().send(message->peer, payload);
    ASSERT_TRUE(next_event(*channel));
  }
  const Traffic after = hall.server().traffic();
  EXPECT_EQ(after.up - before.up, relay->bytes_up() - wire_up);
  EXPECT_EQ(after.down - before.down, relay->bytes_down() - wire_down);
  EXPECT_EQ(told, (Traffic{after.up - before.up, after.down - before.down}));
}

TEST(Control, ATakenOrSenselessEndpointIsAnError) {
  Hall hall;
  const Admission nobody = [](const PublicKey&) { return std::nullopt; };
  const auto taken = make_control_server({.endpoint = hall.server().endpoint(), .keys = {}, .admission = nobody});
  ASSERT_FALSE(taken.ok());
  EXPECT_EQ(taken.error().code(), ErrorCode::kUnavailable);
  const auto senseless = make_control_channel({"carrier pigeon", {}, make_key_pair().value()});
  ASSERT_FALSE(senseless.ok());
  EXPECT_EQ(senseless.error().code(), ErrorCode::kInvalid);
}

}  // namespace
}  // namespace shoal::protocol::zmq
