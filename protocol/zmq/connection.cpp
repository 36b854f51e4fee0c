#include "protocol/zmq/connection.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "protocol/zmq/zmtp_probe.h"

namespace shoal::protocol::zmq {
namespace {

constexpr int kEvents = ZMQ_EVENT_CONNECTED | ZMQ_EVENT_CLOSED | ZMQ_EVENT_DISCONNECTED |
                        ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                        ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;
constexpr Duration kProbeLimit = std::chrono::seconds(1);
// A server that knows its key answers a handshake within a few round trips; one that is overloaded lets it time out.
constexpr Duration kPromptly = std::chrono::seconds(5);

}  // namespace

Result<ConnectionWatch> ConnectionWatch::connect(Context& context, Socket& socket, const std::string& endpoint,
                                                 Duration limit) {
  socket.set(ZMQ_RECONNECT_IVL, -1);
  socket.set(ZMQ_IPV6, 1);
  // Longer than our own limit, so that a failed handshake always means that the other side ended it.
  const auto limit_ms = std::chrono::ceil<std::chrono::milliseconds>(limit).count();
  socket.set(ZMQ_HANDSHAKE_IVL, static_cast<int>(std::min<std::int64_t>(2 * limit_ms, 1 << 30)));

  // The name only has to be unlike others of the same context.
  const std::string name = "inproc://events-" + std::to_string(reinterpret_cast<std::uintptr_t>(socket.handle()));
  SHOAL_CHECK(zmq_socket_monitor(socket.handle(), name.c_str(), kEvents) == 0, zmq_strerror(zmq_errno()));
  Socket events(context, ZMQ_PAIR);
  Monitored monitored(socket.handle());
  SHOAL_TRY(events.connect(name));
  SHOAL_TRY(socket.connect(endpoint));
  return ConnectionWatch(std::move(events), std::move(monitored), endpoint, limit);
}

ConnectionWatch::ConnectionWatch(Socket events, Monitored monitored, std::string endpoint, Duration limit)
    : events_(std::move(events)),
      monitored_(std::move(monitored)),
      endpoint_(std::move(endpoint)),
      started_(std::chrono::steady_clock::now()),
      deadline_(started_ + limit) {}

Duration ConnectionWatch::patience() const {
  if (connected_ || ended_) return std::chrono::hours(1);
  return std::max(Duration::zero(), Duration(deadline_ - std::chrono::steady_clock::now()));
}

std::optional<ConnectionEvent> ConnectionWatch::next() {
  while (!ended_) {
    // One event is two frames: u16 event and u32 value in native order, then the address.
    const auto frame = events_.receive();
    if (!frame) break;
    const auto bytes = frame->bytes();
    std::uint16_t event = 0;
    std::uint32_t value = 0;
    if (bytes.size() >= sizeof event + sizeof value) {
      std::memcpy(&event, bytes.data(), sizeof event);
      std::memcpy(&value, bytes.data() + sizeof event, sizeof value);
    }
    events_.skip_rest(*frame);
    if (auto told = interpret(event, value)) return told;
  }
  if (!ended_ && !connected_ && std::chrono::steady_clock::now() >= deadline_)
    return end(false, "no answer from " + endpoint_ + " in time; check the address and the network");
  return std::nullopt;
}

ConnectionEvent ConnectionWatch::end(bool denied, std::string reason) {
  ended_ = true;
  return Disconnected{denied, std::move(reason)};
}

std::optional<ConnectionEvent> ConnectionWatch::interpret(std::uint16_t event, std::uint32_t value) {
  switch (event) {
    case ZMQ_EVENT_CONNECTED: tcp_connected_ = true; return std::nullopt;
    case ZMQ_EVENT_HANDSHAKE_SUCCEEDED: connected_ = true; return Connected{};
    case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH: return end(true, endpoint_ + " does not admit this key or ticket");
    case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
      if (value == ZMQ_PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC)
        return end(true, endpoint_ + " does not hold the expected server key");
      return end(false, endpoint_ + " does not speak this protocol; check the port");
    case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
      // A CURVE server cannot answer a client that expects another key, so it hangs up; so does a proxy without a
      // server behind it. Only the former greets.
      if (std::chrono::steady_clock::now() - started_ < kPromptly && greets(endpoint_, kProbeLimit))
        return end(true, endpoint_ + " ended the handshake: its key is not the expected server key");
      return end(false, endpoint_ + " closed the connection during the handshake");
    case ZMQ_EVENT_CLOSED:  // of an attempt
      if (tcp_connected_) return std::nullopt;
      return end(false, "cannot connect to " + endpoint_ + ": nothing listens there, or the network is down");
    case ZMQ_EVENT_DISCONNECTED: return end(false, "the connection to " + endpoint_ + " ended");
    default: return std::nullopt;
  }
}

}  // namespace shoal::protocol::zmq
