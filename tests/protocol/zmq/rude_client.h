// A bulk client that speaks the grammar's words in any order.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "protocol/zmq/bulk_link.h"
#include "tests/protocol/zmq/bulk_world.h"

namespace shoal::protocol::zmq {

class RudeClient {
 public:
  explicit RudeClient(const Ticket& ticket) : link_(dealer(context_, ticket), false, 8) {
    EXPECT_TRUE(link_.socket().connect(ticket.endpoint).ok());
  }

  void say(const BulkFrame& frame) { link_.send({}, frame, Message(std::string_view(std::string(frame.size, 'x')))); }
  void say_bytes(std::string_view bytes) { link_.socket().send(Message(bytes), false); }
  // `frame` with a second frame, of its length.
  void say(BulkFrame frame, std::string_view body) {
    frame.size = static_cast<std::uint32_t>(body.size());
    link_.send({}, frame, Message(body));
  }
  // Opens a transfer with a further ticket.
  void say(const BulkFrame& frame, const Ticket& ticket) { say(frame, encode(BulkTicket{ticket.user, ticket.secret})); }

  // nullopt when nothing comes, or what is no message.
  std::optional<BulkFrame> hear() {
    auto received = link_.receive();
    std::array items{readable(link_.socket())};
    for (const auto limit = std::chrono::steady_clock::now() + kPatience;
         !received && std::chrono::steady_clock::now() < limit; received = link_.receive())
      wait(items, kPatience);
    if (!received || !std::holds_alternative<BulkMessage>(*received)) return std::nullopt;
    return std::get<BulkMessage>(*received).frame;
  }
  // The reason of a `failed`, nullopt when something else comes.
  std::optional<BulkFailure> hear_failure() {
    const auto frame = hear();
    if (!frame || frame->kind != BulkKind::kFailed) return std::nullopt;
    return static_cast<BulkFailure>(frame->index);
  }

 private:
  static Socket dealer(Context& context, const Ticket& ticket) {
    Socket socket(context, ZMQ_DEALER);
    socket.set(ZMQ_PLAIN_USERNAME, std::string_view(ticket.user));
    socket.set(ZMQ_PLAIN_PASSWORD, std::string_view(ticket.secret));
    return socket;
  }

  Context context_;
  BulkLink link_;
};

}  // namespace shoal::protocol::zmq
