#include "protocol/zmq/socket.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <ratio>
#include <utility>

#include "base/check.h"

namespace shoal::protocol::zmq {

Error last_error(ErrorCode code, std::string attempted) {
  return Error(code, zmq_strerror(zmq_errno())).because_of_this(std::move(attempted));
}

Context::Context() : handle_(zmq_ctx_new()) { SHOAL_CHECK(handle_ != nullptr, "libzmq has no memory for a context"); }

Context::~Context() {
  while (zmq_ctx_term(handle_) != 0 && zmq_errno() == EINTR) {
  }
}

Message::Message() { zmq_msg_init(&message_); }

Message::Message(std::span<const std::byte> bytes) {
  SHOAL_CHECK(zmq_msg_init_size(&message_, bytes.size()) == 0, "out of memory for a message");
  if (!bytes.empty()) std::memcpy(zmq_msg_data(&message_), bytes.data(), bytes.size());
}

Message::Message(std::string_view text) : Message(std::as_bytes(std::span(text))) {}

Message::Message(std::span<std::byte> bytes, zmq_free_fn* release, void* hint) {
  SHOAL_CHECK(zmq_msg_init_data(&message_, bytes.data(), bytes.size(), release, hint) == 0,
              "out of memory for a message");
}

Message::~Message() { zmq_msg_close(&message_); }

Message::Message(Message&& other) noexcept : Message() { zmq_msg_move(&message_, &other.message_); }

Message& Message::operator=(Message&& other) noexcept {
  zmq_msg_move(&message_, &other.message_);
  return *this;
}

std::span<const std::byte> Message::bytes() const {
  return {static_cast<const std::byte*>(zmq_msg_data(&message_)), zmq_msg_size(&message_)};
}

std::string_view Message::text() const {
  return {static_cast<const char*>(zmq_msg_data(&message_)), zmq_msg_size(&message_)};
}

bool Message::more() const { return zmq_msg_more(&message_) != 0; }

std::string_view Message::property(const char* name) const {
  const char* value = zmq_msg_gets(&message_, name);
  return value == nullptr ? std::string_view() : std::string_view(value);
}

Socket::Socket(Context& context, int type) : handle_(zmq_socket(context.handle(), type)), fd_(-1) {
  SHOAL_CHECK(handle_ != nullptr, zmq_strerror(zmq_errno()));
  std::size_t size = sizeof fd_;
  SHOAL_CHECK(zmq_getsockopt(handle_, ZMQ_FD, &fd_, &size) == 0, zmq_strerror(zmq_errno()));
  set(ZMQ_LINGER, 0);
}

Socket::~Socket() {
  if (handle_ != nullptr) zmq_close(handle_);
}

Socket::Socket(Socket&& other) noexcept
    : handle_(std::exchange(other.handle_, nullptr)), fd_(std::exchange(other.fd_, -1)) {}

void Socket::set(int option, int value) {
  SHOAL_CHECK(zmq_setsockopt(handle_, option, &value, sizeof value) == 0, zmq_strerror(zmq_errno()));
}

void Socket::set(int option, std::int64_t value) {
  SHOAL_CHECK(zmq_setsockopt(handle_, option, &value, sizeof value) == 0, zmq_strerror(zmq_errno()));
}

void Socket::set(int option, std::string_view bytes) {
  SHOAL_CHECK(zmq_setsockopt(handle_, option, bytes.data(), bytes.size()) == 0, zmq_strerror(zmq_errno()));
}

Status Socket::bind(const std::string& endpoint) {
  if (zmq_bind(handle_, endpoint.c_str()) == 0) return {};
  const ErrorCode code =
      zmq_errno() == EINVAL || zmq_errno() == EPROTONOSUPPORT ? ErrorCode::kInvalid : ErrorCode::kUnavailable;
  return last_error(code, "cannot listen on " + endpoint);
}

Status Socket::connect(const std::string& endpoint) {
  if (zmq_connect(handle_, endpoint.c_str()) == 0) return {};
  return last_error(ErrorCode::kInvalid, "cannot connect to \"" + endpoint + "\"; expected tcp://HOST:PORT");
}

std::string Socket::last_endpoint() const {
  std::array<char, 512> text{};
  std::size_t size = text.size();
  SHOAL_CHECK(zmq_getsockopt(handle_, ZMQ_LAST_ENDPOINT, text.data(), &size) == 0, zmq_strerror(zmq_errno()));
  // A dual-stack socket calls IPv4 addresses by their IPv6 names; people know them without.
  std::string endpoint = text.data();
  constexpr std::string_view kMapped = "tcp://[::ffff:";
  if (const std::size_t end = endpoint.find(']'); endpoint.starts_with(kMapped) && end != std::string::npos)
    endpoint = "tcp://" + endpoint.substr(kMapped.size(), end - kMapped.size()) + endpoint.substr(end + 1);
  return endpoint;
}

std::optional<Message> Socket::receive() {
  Message frame;
  int rc = 0;
  do {
    rc = zmq_msg_recv(frame.handle(), handle_, ZMQ_DONTWAIT);
  } while (rc < 0 && zmq_errno() == EINTR);
  if (rc >= 0) return frame;
  SHOAL_CHECK(zmq_errno() == EAGAIN, zmq_strerror(zmq_errno()));
  return std::nullopt;
}

std::uint64_t Socket::skip_rest(const Message& frame, std::uint64_t overhead) {
  std::uint64_t bytes = 0;
  bool more = frame.more();
  while (more) {
    const auto next = receive();  // the frames of one message arrive together
    if (next) bytes += framed_bytes(next->bytes().size() + overhead);
    more = next && next->more();
  }
  return bytes;
}

SendResult Socket::send(Message frame, bool more) {
  int rc = 0;
  do {
    rc = zmq_msg_send(frame.handle(), handle_, ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0));
  } while (rc < 0 && zmq_errno() == EINTR);
  if (rc >= 0) return SendResult::kSent;
  if (zmq_errno() == EHOSTUNREACH) return SendResult::kGone;
  SHOAL_CHECK(zmq_errno() == EAGAIN, zmq_strerror(zmq_errno()));
  return SendResult::kFull;
}

bool Socket::writable() const {
  int events = 0;
  std::size_t size = sizeof events;
  SHOAL_CHECK(zmq_getsockopt(handle_, ZMQ_EVENTS, &events, &size) == 0, zmq_strerror(zmq_errno()));
  return (events & ZMQ_POLLOUT) != 0;
}

Waker::Waker() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) { SHOAL_CHECK(fd_ >= 0, std::strerror(errno)); }

Waker::~Waker() { close(fd_); }

void Waker::wake() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = write(fd_, &one, sizeof one);  // a full counter is awake already
}

void Waker::drain() {
  std::uint64_t count = 0;
  [[maybe_unused]] const auto bytes = read(fd_, &count, sizeof count);
}

void wait(std::span<pollfd> items, Duration timeout) {
  const auto ns = std::max<std::int64_t>(timeout.count(), 0);
  static_assert(std::ratio_equal_v<Duration::period, std::nano>);
  const timespec limit{static_cast<time_t>(ns / 1'000'000'000), static_cast<long>(ns % 1'000'000'000)};
  for (pollfd& item : items) item.revents = 0;
  const int ready = ::ppoll(items.data(), items.size(), &limit, nullptr);
  SHOAL_CHECK(ready >= 0 || errno == EINTR, std::strerror(errno));
  if (ready < 0)
    for (pollfd& item : items) item.revents = 0;
}

}  // namespace shoal::protocol::zmq
