// Bulk messages on a socket: frames by bulk_frame.h, put together and taken apart, and counted.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "base/result.h"
#include "protocol/bulk_frame.h"
#include "protocol/transport.h"
#include "protocol/zmq/socket.h"

namespace shoal::protocol::zmq {

// What one thread moves and others ask for, in all and by account.
class BulkTally {
 public:
  void received(const Account& account, std::uint64_t bytes, bool chunk);
  void sent(const Account& account, const BulkFrame& frame);
  BulkCounters counters() const;
  // Since the last call.
  std::map<Account, Traffic> take_traffic();

 private:
  mutable std::mutex mutex_;
  BulkCounters counters_;
  std::map<Account, Traffic> traffic_;
};

// The User-Id of a connection := device and job of its account (16 hex digits each), user of its ticket. It is set at
// the handshake and rides on every message, so that what comes outside of a transfer still has an account.
std::string user_id(const Account& account, std::string_view user);

struct BulkMessage {
  std::string route;        // ROUTER only, as all of these: the connection,
  std::string user;         // the ticket that it was admitted with,
  Account account;          // and that ticket's account
  std::uint64_t bytes = 0;  // on the wire
  BulkFrame frame;
  Message body;
};

class BulkLink {
 public:
  // Sets limits for `window` chunks on their way in either direction. `socket` is a ROUTER or a DEALER.
  BulkLink(Socket socket, bool routed, std::uint32_t window);

  struct Malformed {
    std::string route;  // these as in BulkMessage
    Account account;
    std::uint64_t bytes = 0;
    Error error;
  };
  using Received = std::variant<BulkMessage, Malformed>;

  // The next message, nullopt when none is there. Whoever takes it knows whose bytes it is and counts it.
  std::optional<Received> receive();
  void count(const Account& account, const BulkMessage& message);
  void count(const Account& account, const Malformed& message);
  // Never waits. `route` is empty for a DEALER; `body` is sent where the frame has a second one.
  SendResult send(std::string_view route, const BulkFrame& frame, Message body = Message(),
                  const Account& account = {});
  SendResult send_failed(std::string_view route, BulkFailure failure, std::string_view text,
                         const Account& account = {});

  Socket& socket() { return socket_; }
  const Socket& socket() const { return socket_; }
  BulkCounters counters() const { return tally_.counters(); }
  std::map<Account, Traffic> take_traffic() { return tally_.take_traffic(); }

 private:
  Socket socket_;
  const bool routed_;
  BulkTally tally_;
};

}  // namespace shoal::protocol::zmq
