// One outgoing connection attempt as its owner sees it: libzmq's socket events turned into "up" and "down, because".
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "base/result.h"
#include "base/time.h"
#include "protocol/transport.h"
#include "protocol/zmq/socket.h"

namespace shoal::protocol::zmq {

using ConnectionEvent = std::variant<Connected, Disconnected>;

// Watches a DEALER socket that connects once. Belongs to the socket's thread; must be destroyed before the socket.
class ConnectionWatch {
 public:
  // Sets the socket up for one attempt without reconnection and calls connect(). kInvalid when the endpoint makes no
  // sense.
  static Result<ConnectionWatch> connect(Context& context, Socket& socket, const std::string& endpoint, Duration limit);

  // What happened since the last call. At most one Connected, then exactly one Disconnected, after which there is no
  // more.
  std::optional<ConnectionEvent> next();

  bool connected() const { return connected_; }
  bool ended() const { return ended_; }
  // How long a poll may wait before next() must be called again.
  Duration patience() const;
  pollfd readable_item() const { return readable(events_); }

 private:
  // A monitored socket whose events nobody takes would block its I/O thread.
  struct StopMonitor {
    void operator()(void* socket) const { zmq_socket_monitor(socket, nullptr, 0); }
  };
  using Monitored = std::unique_ptr<void, StopMonitor>;

  ConnectionWatch(Socket events, Monitored monitored, std::string endpoint, Duration limit);
  ConnectionEvent end(bool denied, std::string reason);
  std::optional<ConnectionEvent> interpret(std::uint16_t event, std::uint32_t value);

  Socket events_;
  Monitored monitored_;
  std::string endpoint_;
  std::chrono::steady_clock::time_point started_, deadline_;
  bool tcp_connected_ = false, connected_ = false, ended_ = false;
};

}  // namespace shoal::protocol::zmq
