#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "protocol/keys.h"
#include "protocol/limits.h"
#include "protocol/zmq/control.h"
#include "protocol/zmq/curve.h"
#include "protocol/zmq/router.h"
#include "protocol/zmq/zap.h"

namespace shoal::protocol::zmq {
namespace {

constexpr std::size_t kMessagesPerPoll = 256;
constexpr int kQueuedFromPeer = 16, kQueuedToPeer = 64;

// User-Id := Z85 key (40 characters), peer class (one digit). It is set at the handshake and rides on every message.
constexpr std::size_t kZ85KeySize = 40;

std::optional<std::string> admit(const Admission& admission, const HandshakeRequest& request) {
  PublicKey key{};
  if (request.mechanism != "CURVE" || request.credentials.size() != 1 || request.credentials[0].size() != key.size())
    return std::nullopt;
  std::copy(request.credentials[0].begin(), request.credentials[0].end(), key.begin());
  const auto peer_class = admission(key);
  if (!peer_class) return std::nullopt;
  return z85_encode(key) + static_cast<char>('0' + static_cast<int>(*peer_class));
}

std::optional<Peer> peer_of(const Message& route, const Message& payload) {
  const std::string_view user = payload.property("User-Id");
  if (user.size() != kZ85KeySize + 1) return std::nullopt;
  const auto key = parse_key(user.substr(0, kZ85KeySize));
  if (!key.ok()) return std::nullopt;
  return Peer{std::string(route.text()), *key, static_cast<PeerClass>(user.back() - '0')};
}

class Server final : public ControlServer {
 public:
  explicit Server(const ControlServerOptions& options)
      : zap_(context_, [admission = options.admission](const HandshakeRequest& r) { return admit(admission, r); }),
        router_(make_router(context_, options.handshake_limit)) {
    router_.set(ZMQ_CURVE_SERVER, 1);
    router_.set(ZMQ_CURVE_SECRETKEY, as_text(options.keys.secret_key));
    router_.set(ZMQ_MAXMSGSIZE, static_cast<std::int64_t>(kMaxControlBytes + kCurveOverhead));
    router_.set(ZMQ_RCVHWM, kQueuedFromPeer);
    router_.set(ZMQ_SNDHWM, kQueuedToPeer);
    set_heartbeats(router_);
  }

  Status bind(const std::string& endpoint) { return router_.bind(endpoint); }

  std::vector<Incoming> poll(Duration timeout) override {
    std::vector<Incoming> messages = take();
    if (!messages.empty()) return messages;
    std::array items{readable(router_), readable(waker_)};
    wait(items, timeout);
    if (has_news(items[1])) waker_.drain();
    return take();
  }

  std::uint64_t send(const Peer& peer, std::span<const std::byte> payload) override {
    SHOAL_CHECK(payload.size() <= kMaxControlBytes, "a control message over its limit");
    if (router_.send(Message(std::string_view(peer.route)), true) != SendResult::kSent) return 0;
    if (router_.send(Message(payload), false) != SendResult::kSent) return 0;
    const std::uint64_t bytes = curve_bytes(payload.size());
    traffic_.down += bytes;
    return bytes;
  }

  void wake() override { waker_.wake(); }
  std::string endpoint() const override { return router_.last_endpoint(); }
  std::uint64_t handshakes_denied() const override { return zap_.denied(); }
  Traffic traffic() const override { return traffic_; }

 private:
  std::vector<Incoming> take() {
    std::vector<Incoming> messages;
    for (std::size_t i = 0; i < kMessagesPerPoll; ++i) {
      const auto route = router_.receive();
      if (!route) break;
      if (!route->more()) continue;
      const auto payload = router_.receive();
      if (!payload) break;
      const std::uint64_t bytes = curve_bytes(payload->bytes().size());
      const bool whole = !payload->more() && payload->bytes().size() <= kMaxControlBytes;
      traffic_.up += bytes + router_.skip_rest(*payload, kCurveOverhead);
      if (!whole) continue;
      if (auto peer = peer_of(*route, *payload))
        messages.push_back({std::move(*peer), {payload->bytes().begin(), payload->bytes().end()}, bytes});
    }
    return messages;
  }

  // In this order, since the handshake thread must outlive the socket, and the context both.
  Context context_;
  ZapHandler zap_;
  Socket router_;
  Waker waker_;
  Traffic traffic_;
};

}  // namespace

Result<std::unique_ptr<ControlServer>> make_control_server(ControlServerOptions options) {
  SHOAL_CHECK(options.admission != nullptr, "a control server needs an admission");
  auto server = std::make_unique<Server>(options);
  SHOAL_TRY(server->bind(options.endpoint));
  return std::unique_ptr<ControlServer>(std::move(server));
}

}  // namespace shoal::protocol::zmq
