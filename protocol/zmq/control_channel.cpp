#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "protocol/keys.h"
#include "protocol/limits.h"
#include "protocol/zmq/connection.h"
#include "protocol/zmq/control.h"
#include "protocol/zmq/curve.h"

namespace shoal::protocol::zmq {
namespace {

constexpr int kQueuedFromServer = 64, kQueuedToServer = 64;
constexpr int kLingerMs = 500;  // for a Goodbye to leave

class Channel final : public ControlChannel {
 public:
  explicit Channel(const ControlChannelOptions& options) : dealer_(context_, ZMQ_DEALER) {
    dealer_.set(ZMQ_LINGER, kLingerMs);
    dealer_.set(ZMQ_CURVE_SERVERKEY, as_text(options.server_key));
    dealer_.set(ZMQ_CURVE_PUBLICKEY, as_text(options.keys.public_key));
    dealer_.set(ZMQ_CURVE_SECRETKEY, as_text(options.keys.secret_key));
    dealer_.set(ZMQ_MAXMSGSIZE, static_cast<std::int64_t>(kMaxControlBytes + kCurveOverhead));
    dealer_.set(ZMQ_RCVHWM, kQueuedFromServer);
    dealer_.set(ZMQ_SNDHWM, kQueuedToServer);
    set_heartbeats(dealer_);
  }

  Status connect(const ControlChannelOptions& options) {
    SHOAL_TRY_ASSIGN(auto watch, ConnectionWatch::connect(context_, dealer_, options.endpoint, options.connect_limit));
    watch_.emplace(std::move(watch));
    return {};
  }

  std::optional<ChannelEvent> poll(Duration timeout) override {
    if (auto event = next()) return event;
    // Nothing is received before the handshake has ended, so until then the socket's news stay.
    std::array items{readable(waker_), watch_->readable_item(), readable(dealer_)};
    wait(std::span(items).first(watch_->connected() ? 3 : 2), std::min(timeout, watch_->patience()));
    if (has_news(items[0])) waker_.drain();
    return next();
  }

  void send(std::span<const std::byte> payload) override {
    SHOAL_CHECK(payload.size() <= kMaxControlBytes, "a control message over its limit");
    if (!watch_->ended()) dealer_.send(Message(payload), false);
  }

  void wake() override { waker_.wake(); }

 private:
  // Connected comes before every message, and every message that arrived before Disconnected.
  std::optional<ChannelEvent> next() {
    if (watch_->connected())
      if (auto payload = receive()) return std::move(*payload);
    auto event = watch_->next();
    if (watch_->ended()) dealer_.set(ZMQ_LINGER, 0);  // nothing can leave any more
    if (event) return std::visit([](auto& e) { return ChannelEvent(std::move(e)); }, *event);
    return std::nullopt;
  }

  std::optional<std::vector<std::byte>> receive() {
    while (const auto frame = dealer_.receive()) {
      const bool whole = !frame->more() && frame->bytes().size() <= kMaxControlBytes;
      dealer_.skip_rest(*frame);
      if (whole) return std::vector<std::byte>(frame->bytes().begin(), frame->bytes().end());
    }
    return std::nullopt;
  }

  Context context_;
  Socket dealer_;
  std::optional<ConnectionWatch> watch_;
  Waker waker_;
};

}  // namespace

Result<std::unique_ptr<ControlChannel>> make_control_channel(ControlChannelOptions options) {
  auto channel = std::make_unique<Channel>(options);
  SHOAL_TRY(channel->connect(options));
  return std::unique_ptr<ControlChannel>(std::move(channel));
}

}  // namespace shoal::protocol::zmq
