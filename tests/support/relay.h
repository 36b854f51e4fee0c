// A TCP relay on loopback for tests: stands between two real processes or sockets and delays, throttles, cuts and
// corrupts.
#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "base/result.h"
#include "base/time.h"

namespace shoal::testing {

// What happens to one direction of a connection.
struct RelayRules {
  Duration delay{};                    // of every byte
  std::uint64_t bytes_per_second = 0;  // 0: no limit
  std::optional<std::uint64_t> cut_after =
      {};  // exactly so many bytes pass, then the sender is reset and the receiver sees the end
  std::optional<std::uint64_t> corrupt_at = {};  // one bit of this byte is flipped
};

// Runs on a thread of its own until destroyed. All calls are thread-safe.
class Relay {
 public:
  // `target` is tcp://127.0.0.1:PORT; nothing needs to listen there yet.
  static Result<std::unique_ptr<Relay>> start(const std::string& target);
  ~Relay();

  std::string endpoint() const { return endpoint_; }  // tcp://127.0.0.1:PORT, where clients connect
  // For connections that are made from now on. `up` is from who connects towards the target.
  void set_rules(RelayRules up, RelayRules down);
  // Resets the connections that there are.
  void cut();

  // Passed on so far, over all connections.
  std::uint64_t bytes_up() const { return bytes_up_; }
  std::uint64_t bytes_down() const { return bytes_down_; }
  std::uint64_t connections() const { return connections_; }

 private:
  struct Flow;
  struct Connection;

  Relay(int listener, int wake, std::uint16_t target_port, std::string endpoint);
  void serve();
  void accept_one();
  void wake();

  const int listener_, wake_;
  const std::uint16_t target_port_;
  const std::string endpoint_;

  std::mutex mutex_;  // guards the rules
  RelayRules up_, down_;

  std::list<Connection> open_;  // of the relay's thread
  std::atomic<std::uint64_t> bytes_up_{0}, bytes_down_{0}, connections_{0};
  std::atomic<bool> stopping_{false}, cutting_{false};
  std::thread thread_;
};

}  // namespace shoal::testing
