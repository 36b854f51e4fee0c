// What both ends of the control plane share: CURVE's keys and overhead, and the heartbeats that find dead peers.
#pragma once

#include <cstdint>
#include <string_view>

#include "protocol/transport.h"
#include "protocol/zmq/socket.h"

namespace shoal::protocol::zmq {

// A CURVE message on the wire: "\x07MESSAGE" and an 8-byte nonce, then a 16-byte tag over a flags byte and the payload.
inline constexpr std::uint64_t kCurveOverhead = 8 + 8 + 16 + 1;

constexpr std::uint64_t curve_bytes(std::uint64_t payload) { return framed_bytes(payload + kCurveOverhead); }

inline std::string_view as_text(const std::array<std::uint8_t, 32>& key) {
  return {reinterpret_cast<const char*>(key.data()), key.size()};
}

// A peer that is silent for 30 s after a ping is disconnected, by either side.
inline void set_heartbeats(Socket& socket) {
  socket.set(ZMQ_HEARTBEAT_IVL, 15'000);
  socket.set(ZMQ_HEARTBEAT_TIMEOUT, 30'000);
  socket.set(ZMQ_HEARTBEAT_TTL, 60'000);
}

}  // namespace shoal::protocol::zmq
