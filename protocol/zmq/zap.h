// Who may pass a handshake: the answering end of ZAP (ZeroMQ RFC 27) of one context, on a thread of its own.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "protocol/zmq/socket.h"

namespace shoal::protocol::zmq {

// The domain that server sockets must name (ZMQ_ZAP_DOMAIN).
inline constexpr std::string_view kZapDomain = "shoal";

struct HandshakeRequest {
  std::string_view mechanism;                 // "CURVE" or "PLAIN"
  std::vector<std::string_view> credentials;  // CURVE: the key's 32 bytes; PLAIN: user name and password
};

// The User-Id that every message of the connection will carry, or nullopt to deny it. Called on the handshake thread.
using HandshakeDecision = std::function<std::optional<std::string>(const HandshakeRequest&)>;

// Must be made before the context's first server socket binds, and destroyed before the context.
class ZapHandler {
 public:
  ZapHandler(Context& context, HandshakeDecision decide);
  ~ZapHandler();

  std::uint64_t denied() const { return denied_.load(std::memory_order_relaxed); }

 private:
  void serve();
  void answer(std::vector<Message> request);

  HandshakeDecision decide_;
  Socket socket_;
  Waker stop_;
  std::atomic<bool> stopping_{false};
  std::atomic<std::uint64_t> denied_{0};
  std::thread thread_;
};

}  // namespace shoal::protocol::zmq
