#include "protocol/zmq/bulk_link.h"

#include <utility>

namespace shoal::protocol::zmq {
namespace {

// For acks and an ending beside the chunks.
constexpr std::uint32_t kSpareMessages = 4;
// What may be sent is bounded by the window already, and acks are small. libzmq hears late, after half of a queue was
// sent, that there is room again, so that a queue of just the window's length would seem full at times.
constexpr std::uint32_t kSendQueueWindows = 4;

bool has_body(BulkKind kind) { return kind == BulkKind::kChunk || kind == BulkKind::kFailed; }

std::uint64_t wire_bytes(const BulkFrame& frame) {
  return framed_bytes(kBulkHeaderBytes) + (has_body(frame.kind) ? framed_bytes(frame.size) : 0);
}

void add(std::atomic<std::uint64_t>& counter, std::uint64_t n) { counter.fetch_add(n, std::memory_order_relaxed); }

}  // namespace

void BulkTally::received(const BulkFrame& frame) {
  add(bytes_received_, wire_bytes(frame));
  if (frame.kind == BulkKind::kChunk) add(chunks_received_, 1);
}

void BulkTally::sent(const BulkFrame& frame) {
  add(bytes_sent_, wire_bytes(frame));
  if (frame.kind == BulkKind::kChunk) add(chunks_sent_, 1);
}

BulkCounters BulkTally::read() const {
  BulkCounters counters;
  counters.chunks_received = chunks_received_.load(std::memory_order_relaxed);
  counters.chunks_sent = chunks_sent_.load(std::memory_order_relaxed);
  counters.bytes_received = bytes_received_.load(std::memory_order_relaxed);
  counters.bytes_sent = bytes_sent_.load(std::memory_order_relaxed);
  return counters;
}

BulkLink::BulkLink(Socket socket, bool routed, std::uint32_t window) : socket_(std::move(socket)), routed_(routed) {
  socket_.set(ZMQ_MAXMSGSIZE, static_cast<std::int64_t>(kMaxBulkBodyBytes));
  socket_.set(ZMQ_RCVHWM, static_cast<int>(window + kSpareMessages));
  socket_.set(ZMQ_SNDHWM, static_cast<int>(kSendQueueWindows * (window + kSpareMessages)));
}

std::optional<BulkLink::Received> BulkLink::receive() {
  BulkMessage message;
  auto frame = socket_.receive();
  if (!frame) return std::nullopt;
  if (routed_) {
    message.route = frame->text();
    if (!frame->more())
      return Malformed{std::move(message.route), {}, Error(ErrorCode::kCorrupt, "an empty bulk message")};
    frame = socket_.receive();
    SHOAL_CHECK(frame.has_value(), "the frames of one message arrive together");
    message.user = frame->property("User-Id");
  }
  const auto malformed = [&](Error error) {
    return Malformed{std::move(message.route), std::move(message.user), std::move(error)};
  };
  auto header = decode_bulk(frame->bytes());
  if (!header.ok()) {
    socket_.skip_rest(*frame);
    return malformed(std::move(header).error());
  }
  message.frame = *header;
  if (frame->more() != has_body(header->kind)) {
    socket_.skip_rest(*frame);
    return malformed(Error(ErrorCode::kCorrupt, "a bulk message with the wrong number of frames"));
  }
  if (has_body(header->kind)) {
    auto body = socket_.receive();
    SHOAL_CHECK(body.has_value(), "the frames of one message arrive together");
    const bool last = !body->more();
    socket_.skip_rest(*body);
    if (!last || body->bytes().size() != header->size)
      return malformed(Error(ErrorCode::kCorrupt, "a bulk message whose second frame is not as announced"));
    message.body = std::move(*body);
  }
  tally_.received(*header);
  return message;
}

SendResult BulkLink::send(std::string_view route, const BulkFrame& frame, Message body) {
  const bool with_body = has_body(frame.kind);
  if (routed_) {
    const SendResult routed = socket_.send(Message(route), true);
    if (routed != SendResult::kSent) return routed;
  }
  const auto header = encode(frame);
  const SendResult begun = socket_.send(Message(std::span<const std::byte>(header)), with_body);
  if (begun != SendResult::kSent) return begun;
  // Once a message has begun, libzmq takes all of its frames.
  if (with_body && socket_.send(std::move(body), false) != SendResult::kSent) return SendResult::kGone;
  tally_.sent(frame);
  return SendResult::kSent;
}

SendResult BulkLink::send_failed(std::string_view route, BulkFailure failure, std::string_view text) {
  text = text.substr(0, kMaxReasonBytes);
  const BulkFrame frame{BulkKind::kFailed, static_cast<std::uint32_t>(failure), 0,
                        static_cast<std::uint32_t>(text.size())};
  return send(route, frame, Message(text));
}

}  // namespace shoal::protocol::zmq
