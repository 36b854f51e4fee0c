#include "tests/support/relay.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

namespace shoal::testing {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

constexpr std::size_t kReadBytes = 64 * 1024;
constexpr std::size_t kMostHeld = 4 * kReadBytes;  // of one direction; more stays with the sender
constexpr auto kLongest = std::chrono::milliseconds(1000);
constexpr auto kThrottleStep = std::chrono::milliseconds(10);

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// So that the other end sees a broken connection and not an orderly end.
void close_with_reset(int fd) {
  const linger abrupt{1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &abrupt, sizeof abrupt);
  close(fd);
}

}  // namespace

// One direction of a connection: what was read and waits for its time.
struct Relay::Flow {
  struct Piece {
    SteadyTime due;
    std::vector<std::uint8_t> bytes;
  };

  int from, to;
  RelayRules rules;
  std::atomic<std::uint64_t>& total;
  std::deque<Piece> held = {};
  std::size_t held_bytes = 0;
  std::uint64_t read = 0, passed = 0;
  SteadyTime started{};             // of what flows now without a pause
  std::uint64_t passed_before = 0;  // that
  bool ended = false;               // `from` has no more

  bool wants_input() const { return !ended && held_bytes < kMostHeld; }

  // How many bytes may pass now.
  std::uint64_t allowance(SteadyTime now) const {
    if (held.empty() || held.front().due > now) return 0;
    std::uint64_t most = held.front().bytes.size();
    if (rules.cut_after) most = std::min(most, *rules.cut_after - passed);
    if (rules.bytes_per_second > 0) {
      const double seconds = to_seconds(now - started);
      const auto earned = static_cast<std::uint64_t>(seconds * static_cast<double>(rules.bytes_per_second));
      const std::uint64_t spent = passed - passed_before;
      most = std::min(most, earned > spent ? earned - spent : 0);
    }
    return most;
  }

  // When allowance() may have grown.
  Duration until_due(SteadyTime now) const {
    if (held.empty()) return kLongest;
    if (held.front().due > now) return held.front().due - now;
    return rules.bytes_per_second > 0 ? Duration(kThrottleStep) : Duration(kLongest);
  }

  bool cut_reached() const { return rules.cut_after && passed >= *rules.cut_after; }
  bool drained() const { return ended && held.empty(); }

  // False when the connection broke.
  bool pull() {
    std::vector<std::uint8_t> bytes(kReadBytes);
    const ssize_t n = recv(from, bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    if (n == 0) {
      ended = true;
      return true;
    }
    bytes.resize(static_cast<std::size_t>(n));
    if (rules.corrupt_at && *rules.corrupt_at >= read && *rules.corrupt_at < read + bytes.size())
      bytes[*rules.corrupt_at - read] ^= 0x10;
    read += bytes.size();
    if (held.empty()) {  // what a pause would have let pass is not saved up
      started = std::chrono::steady_clock::now();
      passed_before = passed;
    }
    held_bytes += bytes.size();
    held.push_back({std::chrono::steady_clock::now() + rules.delay, std::move(bytes)});
    return true;
  }

  bool push(SteadyTime now) {
    while (const std::uint64_t most = allowance(now)) {
      auto& bytes = held.front().bytes;
      total += most;  // before whoever receives them can look
      const ssize_t n = send(to, bytes.data(), most, MSG_DONTWAIT | MSG_NOSIGNAL);
      total -= most - static_cast<std::uint64_t>(std::max<ssize_t>(n, 0));
      if (n < 0) return errno == EAGAIN || errno == EINTR;
      bytes.erase(bytes.begin(), bytes.begin() + n);
      if (bytes.empty()) held.pop_front();
      held_bytes -= static_cast<std::size_t>(n);
      passed += static_cast<std::uint64_t>(n);
    }
    if (drained()) shutdown(to, SHUT_WR);
    return true;
  }
};

struct Relay::Connection {
  Connection(int near_fd, int far_fd, const RelayRules& up_rules, const RelayRules& down_rules,
             std::atomic<std::uint64_t>& bytes_up, std::atomic<std::uint64_t>& bytes_down)
      : near(near_fd), far(far_fd), up{near, far, up_rules, bytes_up}, down{far, near, down_rules, bytes_down} {}
  ~Connection() {
    if (near >= 0) close_with_reset(near);
    if (far >= 0) close_with_reset(far);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  std::array<pollfd, 2> poll_items(SteadyTime now) const {
    if (draining >= 0) return {pollfd{near, POLLIN, 0}, pollfd{far, POLLIN, 0}};  // poll() skips the closed one
    const auto events = [now](const Flow& in, const Flow& out) {
      return static_cast<short>((in.wants_input() ? POLLIN : 0) | (out.allowance(now) > 0 ? POLLOUT : 0));
    };
    return {pollfd{near, events(up, down), 0}, pollfd{far, events(down, up), 0}};
  }

  // False when the connection is over.
  bool step(const pollfd& near_item, const pollfd& far_item) {
    if (draining >= 0) return drain();
    const SteadyTime now = std::chrono::steady_clock::now();
    if (((near_item.revents | far_item.revents) & (POLLERR | POLLNVAL)) != 0) return false;
    if ((near_item.revents & (POLLIN | POLLHUP)) != 0 && up.wants_input() && !up.pull()) return false;
    if ((far_item.revents & (POLLIN | POLLHUP)) != 0 && down.wants_input() && !down.pull()) return false;
    if (!up.push(now) || !down.push(now)) return false;
    if (up.cut_reached()) {
      begin_cut(near, far);
    } else if (down.cut_reached()) {
      begin_cut(far, near);
    }
    return !(up.drained() && down.drained());
  }

  // A reset would throw away what the receiver has not read yet, so it gets an orderly end of what passed.
  void begin_cut(int& sender, int receiver) {
    close_with_reset(std::exchange(sender, -1));
    shutdown(receiver, SHUT_WR);
    draining = receiver;
  }

  bool drain() const {
    std::array<char, 4096> ignored;
    const ssize_t n = recv(draining, ignored.data(), ignored.size(), MSG_DONTWAIT);
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
  }

  int near, far;
  int draining = -1;  // after a cut: the end that may still read
  Flow up, down;
};

Result<std::unique_ptr<Relay>> Relay::start(const std::string& target) {
  const std::size_t colon = target.rfind(':');
  const int port = colon == std::string::npos ? 0 : std::atoi(target.c_str() + colon + 1);
  if (port < 1 || port > 65535) return Error(ErrorCode::kInvalid, "not an endpoint: " + target);

  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const int wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  if (listener < 0 || wake < 0 || bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      listen(listener, 64) != 0 || getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    return errno_error(ErrorCode::kUnavailable, "cannot start a relay", errno);
  const std::string endpoint = "tcp://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  return std::unique_ptr<Relay>(new Relay(listener, wake, static_cast<std::uint16_t>(port), endpoint));
}

Relay::Relay(int listener, int wake, std::uint16_t target_port, std::string endpoint)
    : listener_(listener), wake_(wake), target_port_(target_port), endpoint_(std::move(endpoint)) {
  thread_ = std::thread([this] { serve(); });
}

Relay::~Relay() {
  stopping_ = true;
  wake();
  thread_.join();
  close(listener_);
  close(wake_);
}

void Relay::set_rules(RelayRules up, RelayRules down) {
  const std::lock_guard lock(mutex_);
  up_ = up;
  down_ = down;
}

void Relay::cut() {
  cutting_ = true;
  wake();
}

void Relay::wake() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto n = write(wake_, &one, sizeof one);
}

void Relay::accept_one() {
  const int near = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (near < 0) return;
  const int far = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = loopback(target_port_);
  if (far < 0 || connect(far, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    close_with_reset(near);  // like a proxy whose server is down
    if (far >= 0) close(far);
    return;
  }
  const int on = 1;
  setsockopt(near, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(far, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ++connections_;
  const std::lock_guard lock(mutex_);
  open_.emplace_back(near, far, up_, down_, bytes_up_, bytes_down_);
}

void Relay::serve() {
  while (!stopping_) {
    std::vector<pollfd> items{{listener_, POLLIN, 0}, {wake_, POLLIN, 0}};
    const SteadyTime now = std::chrono::steady_clock::now();
    Duration wait = kLongest;
    for (const Connection& connection : open_) {
      for (const pollfd& item : connection.poll_items(now)) items.push_back(item);
      wait = std::min({wait, connection.up.until_due(now), connection.down.until_due(now)});
    }
    const auto ms = std::chrono::ceil<std::chrono::milliseconds>(wait).count();
    if (::poll(items.data(), items.size(), static_cast<int>(ms)) < 0 && errno != EINTR) return;

    std::uint64_t count = 0;
    [[maybe_unused]] const auto n = ::read(wake_, &count, sizeof count);
    if (cutting_.exchange(false)) {
      open_.clear();
      continue;
    }
    auto item = items.begin() + 2;
    for (auto it = open_.begin(); it != open_.end(); item += 2)
      it = it->step(item[0], item[1]) ? std::next(it) : open_.erase(it);
    if ((items[0].revents & POLLIN) != 0) accept_one();
  }
  open_.clear();
}

}  // namespace shoal::testing
