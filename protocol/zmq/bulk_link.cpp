#include "protocol/zmq/bulk_link.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <utility>

namespace shoal::protocol::zmq {
namespace {

// For acks and an ending beside the chunks.
constexpr std::uint32_t kSpareMessages = 4;
// Chunks that were received and not taken yet, of one connection: what is beyond waits in the kernel's buffers, so that
// a burst of many connections does not come to lie in the process.
constexpr int kReceiveQueue = 2;
// What may be sent is bounded by the window already, and acks are small. libzmq hears late, after half of a queue was
// sent, that there is room again, so that a queue of just the window's length would seem full at times.
constexpr std::uint32_t kSendQueueWindows = 4;

std::uint64_t wire_bytes(const BulkFrame& frame) {
  return framed_bytes(kBulkHeaderBytes) + (has_second_frame(frame) ? framed_bytes(frame.size) : 0);
}

constexpr std::size_t kIdDigits = 16;

// Of a User-Id's digits at `at`; 0 where there are none.
std::uint64_t number_at(std::string_view text, std::size_t at) {
  std::uint64_t number = 0;
  if (text.size() >= at + kIdDigits) std::from_chars(text.data() + at, text.data() + at + kIdDigits, number, 16);
  return number;
}

}  // namespace

void BulkTally::received(const Account& account, std::uint64_t bytes, bool chunk) {
  const std::lock_guard lock(mutex_);
  counters_.bytes_received += bytes;
  counters_.chunks_received += chunk ? 1 : 0;
  traffic_[account].up += bytes;
}

void BulkTally::sent(const Account& account, const BulkFrame& frame) {
  const std::uint64_t bytes = wire_bytes(frame);
  const std::lock_guard lock(mutex_);
  counters_.bytes_sent += bytes;
  counters_.chunks_sent += frame.kind == BulkKind::kChunk ? 1 : 0;
  traffic_[account].down += bytes;
}

BulkCounters BulkTally::counters() const {
  const std::lock_guard lock(mutex_);
  return counters_;
}

std::map<Account, Traffic> BulkTally::take_traffic() {
  const std::lock_guard lock(mutex_);
  return std::exchange(traffic_, {});
}

std::string user_id(const Account& account, std::string_view user) {
  char digits[2 * kIdDigits + 1];
  std::snprintf(digits, sizeof digits, "%016llx%016llx", static_cast<unsigned long long>(account.device.value),
                static_cast<unsigned long long>(account.job.value));
  return digits + std::string(user);
}

BulkLink::BulkLink(Socket socket, bool routed, std::uint32_t window) : socket_(std::move(socket)), routed_(routed) {
  socket_.set(ZMQ_MAXMSGSIZE, static_cast<std::int64_t>(kMaxBulkBodyBytes));
  socket_.set(ZMQ_RCVHWM, kReceiveQueue);
  socket_.set(ZMQ_SNDHWM, static_cast<int>(kSendQueueWindows * (window + kSpareMessages)));
}

std::optional<BulkLink::Received> BulkLink::receive() {
  BulkMessage message;
  auto frame = socket_.receive();
  if (!frame) return std::nullopt;
  if (routed_) {
    message.route = frame->text();
    if (!frame->more())
      return Malformed{std::move(message.route), {}, 0, Error(ErrorCode::kCorrupt, "an empty bulk message")};
    frame = socket_.receive();
    SHOAL_CHECK(frame.has_value(), "the frames of one message arrive together");
    const std::string_view id = frame->property("User-Id");
    message.account = {DeviceId{number_at(id, 0)}, JobId{number_at(id, kIdDigits)}};
    message.user = id.substr(std::min(id.size(), 2 * kIdDigits));
  }
  std::uint64_t bytes = framed_bytes(frame->bytes().size());
  const auto malformed = [&](Error error) {
    return Malformed{std::move(message.route), message.account, bytes, std::move(error)};
  };
  auto header = decode_bulk(frame->bytes());
  if (!header.ok()) {
    bytes += socket_.skip_rest(*frame);
    return malformed(std::move(header).error());
  }
  message.frame = *header;
  if (frame->more() != has_second_frame(*header)) {
    bytes += socket_.skip_rest(*frame);
    return malformed(Error(ErrorCode::kCorrupt, "a bulk message with the wrong number of frames"));
  }
  if (has_second_frame(*header)) {
    auto body = socket_.receive();
    SHOAL_CHECK(body.has_value(), "the frames of one message arrive together");
    const bool last = !body->more();
    bytes += framed_bytes(body->bytes().size()) + socket_.skip_rest(*body);
    if (!last || body->bytes().size() != header->size)
      return malformed(Error(ErrorCode::kCorrupt, "a bulk message whose second frame is not as announced"));
    message.body = std::move(*body);
  }
  message.bytes = bytes;
  return message;
}

void BulkLink::count(const Account& account, const BulkMessage& message) {
  tally_.received(account, message.bytes, message.frame.kind == BulkKind::kChunk);
}

void BulkLink::count(const Account& account, const Malformed& message) {
  tally_.received(account, message.bytes, false);
}

SendResult BulkLink::send(std::string_view route, const BulkFrame& frame, Message body, const Account& account) {
  const bool with_body = has_second_frame(frame);
  if (routed_) {
    const SendResult routed = socket_.send(Message(route), true);
    if (routed != SendResult::kSent) return routed;
  }
  const auto header = encode(frame);
  const SendResult begun = socket_.send(Message(std::span<const std::byte>(header)), with_body);
  if (begun != SendResult::kSent) return begun;
  // Once a message has begun, libzmq takes all of its frames.
  if (with_body && socket_.send(std::move(body), false) != SendResult::kSent) return SendResult::kGone;
  tally_.sent(account, frame);
  return SendResult::kSent;
}

SendResult BulkLink::send_failed(std::string_view route, BulkFailure failure, std::string_view text,
                                 const Account& account) {
  text = text.substr(0, kMaxReasonBytes);
  const BulkFrame frame{BulkKind::kFailed, static_cast<std::uint32_t>(failure), 0,
                        static_cast<std::uint32_t>(text.size())};
  return send(route, frame, Message(text), account);
}

}  // namespace shoal::protocol::zmq
