// libzmq's C interface as owned values: context, socket, message, and a waker that ends a poll from another thread.
#pragma once

#include <poll.h>
#include <zmq.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"

namespace shoal::protocol::zmq {

// What was attempted, and libzmq's text for its current error.
Error last_error(ErrorCode code, std::string attempted);

// One I/O thread. Destroying it waits for its sockets to be closed and for what lingers in them.
class Context {
 public:
  Context();
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  void* handle() const { return handle_; }

 private:
  void* handle_;
};

// One frame. Moving it does not copy its bytes.
class Message {
 public:
  Message();
  explicit Message(std::span<const std::byte> bytes);  // copies
  explicit Message(std::string_view text);             // copies
  // Takes the bytes without copying: `release(data, hint)` is called, on any thread, once libzmq has sent or dropped
  // them.
  Message(std::span<std::byte> bytes, zmq_free_fn* release, void* hint);
  ~Message();
  Message(Message&& other) noexcept;
  Message& operator=(Message&& other) noexcept;

  std::span<const std::byte> bytes() const;
  std::string_view text() const;
  bool more() const;  // another frame of the same message follows
  // A property of the connection it came on ("User-Id"), set by this side's own handshake; empty when there is none.
  std::string_view property(const char* name) const;

  zmq_msg_t* handle() { return &message_; }

 private:
  mutable zmq_msg_t message_;
};

enum class SendResult { kSent, kFull, kGone };

// Belongs to one thread at a time, like every ZeroMQ socket. Closes at once by default (no linger).
class Socket {
 public:
  Socket(Context& context, int type);
  ~Socket();
  Socket(Socket&& other) noexcept;
  Socket& operator=(Socket&&) = delete;

  // Wrong options are bugs.
  void set(int option, int value);
  void set(int option, std::int64_t value);
  void set(int option, std::string_view bytes);
  Status bind(const std::string& endpoint);
  Status connect(const std::string& endpoint);
  std::string last_endpoint() const;

  // The next frame, nullopt when none is there. Never waits.
  std::optional<Message> receive();
  // Reads and forgets the frames that follow `frame`; returns their bytes on the wire, where encryption adds `overhead`
  // to each.
  std::uint64_t skip_rest(const Message& frame, std::uint64_t overhead = 0);
  // Never waits. kFull and kGone leave nothing behind in the socket.
  SendResult send(Message frame, bool more);
  // Whether a message would be taken now.
  bool writable() const;

  void* handle() const { return handle_; }
  int fd() const { return fd_; }

 private:
  void* handle_;
  int fd_;
};

// Ends another thread's poll on fd().
class Waker {
 public:
  Waker();
  ~Waker();
  Waker(const Waker&) = delete;
  Waker& operator=(const Waker&) = delete;

  void wake();
  void drain();
  int fd() const { return fd_; }

 private:
  int fd_;
};

// Of sockets and wakers, for wait().
template <class Source>
pollfd readable(const Source& source) {
  return {source.fd(), POLLIN, 0};
}
// Waits until one of the items has news or the time is over; negative times count as zero.
//
// A socket's descriptor tells that something has changed since the socket was last looked at, by receive() or send(),
// and not that a message is there: before a wait, receive() must have returned nullopt after the last send(). libzmq's
// own zmq_poll() takes care of that, at the price of three system calls a socket, twice each time that it waits.
void wait(std::span<pollfd> items, Duration timeout);
inline bool has_news(const pollfd& item) { return item.revents != 0; }

// Bytes on the wire of one frame of `body` bytes: ZMTP's flags and length come before it.
constexpr std::uint64_t framed_bytes(std::uint64_t body) { return body + (body > 255 ? 9 : 2); }

}  // namespace shoal::protocol::zmq
