#include "protocol/zmq/zap.h"

#include <array>
#include <utility>

#include "base/check.h"

namespace shoal::protocol::zmq {
namespace {

// request := version request-id domain address routing-id mechanism credential*
// reply   := version request-id status text user-id metadata
constexpr std::size_t kRequestId = 1, kDomain = 2, kMechanism = 5, kCredentials = 6;
constexpr std::string_view kVersion = "1.0";

}  // namespace

ZapHandler::ZapHandler(Context& context, HandshakeDecision decide)
    : decide_(std::move(decide)), socket_(context, ZMQ_REP) {
  const Status bound = socket_.bind("inproc://zeromq.zap.01");
  SHOAL_CHECK(bound.ok(), "one context, one ZAP handler");
  thread_ = std::thread([this] { serve(); });
}

ZapHandler::~ZapHandler() {
  stopping_ = true;
  stop_.wake();
  thread_.join();
}

void ZapHandler::serve() {
  std::array items{readable(socket_), readable(stop_)};
  while (!stopping_) {
    wait(items, std::chrono::seconds(60));
    while (auto frame = socket_.receive()) {
      std::vector<Message> request;
      bool more = frame->more();
      request.push_back(std::move(*frame));
      while (more) {
        auto next = socket_.receive();
        if (!next) break;
        more = next->more();
        request.push_back(std::move(*next));
      }
      answer(std::move(request));
    }
  }
}

void ZapHandler::answer(std::vector<Message> request) {
  std::optional<std::string> user;
  if (request.size() > kCredentials && request[0].text() == kVersion && request[kDomain].text() == kZapDomain) {
    HandshakeRequest handshake{request[kMechanism].text(), {}};
    for (std::size_t i = kCredentials; i < request.size(); ++i) handshake.credentials.push_back(request[i].text());
    user = decide_(handshake);
  }
  if (!user) denied_.fetch_add(1, std::memory_order_relaxed);
  socket_.send(Message(kVersion), true);
  socket_.send(request.size() > kRequestId ? std::move(request[kRequestId]) : Message(), true);
  socket_.send(Message(user ? std::string_view("200") : std::string_view("400")), true);
  socket_.send(Message(), true);
  socket_.send(Message(std::string_view(user ? *user : std::string())), true);
  socket_.send(Message(), false);
}

}  // namespace shoal::protocol::zmq
