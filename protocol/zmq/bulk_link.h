// Bulk messages on a socket: frames by bulk_frame.h, put together and taken apart, and counted.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "base/result.h"
#include "protocol/bulk_frame.h"
#include "protocol/transport.h"
#include "protocol/zmq/socket.h"

namespace shoal::protocol::zmq {

// BulkCounters that one thread counts and others read.
class BulkTally {
 public:
  void received(const BulkFrame& frame);
  void sent(const BulkFrame& frame);
  BulkCounters read() const;

 private:
  std::atomic<std::uint64_t> chunks_received_{0}, chunks_sent_{0}, bytes_received_{0}, bytes_sent_{0};
};

struct BulkMessage {
  std::string route;  // ROUTER only
  std::string user;   // ROUTER only: the ticket that the connection was admitted with
  BulkFrame frame;
  Message body;
};

class BulkLink {
 public:
  // Sets limits for `window` chunks on their way in either direction. `socket` is a ROUTER or a DEALER.
  BulkLink(Socket socket, bool routed, std::uint32_t window);

  struct Malformed {
    std::string route, user;
    Error error;
  };
  using Received = std::variant<BulkMessage, Malformed>;

  // The next message, nullopt when none is there.
  std::optional<Received> receive();
  // Never waits. `route` is empty for a DEALER; `body` is sent with chunk and failed only.
  SendResult send(std::string_view route, const BulkFrame& frame, Message body = Message());
  SendResult send_failed(std::string_view route, BulkFailure failure, std::string_view text);

  Socket& socket() { return socket_; }
  const Socket& socket() const { return socket_; }
  BulkCounters counters() const { return tally_.read(); }

 private:
  Socket socket_;
  const bool routed_;
  BulkTally tally_;
};

}  // namespace shoal::protocol::zmq
