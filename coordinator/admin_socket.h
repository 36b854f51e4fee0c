// The administration socket: a Unix stream socket in a folder of mode 0700, one JSON line each way.
#pragma once

#include <atomic>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/log.h"
#include "base/result.h"

namespace shoal::coordinator {

// Listens on a thread of its own, and serves each connection on another (at most kMaxConnections at a time).
class AdminSocket {
 public:
  static constexpr int kMaxConnections = 32;
  static constexpr std::size_t kMaxLine = std::size_t{1} << 20;

  // Makes the folder of `path` with mode 0700, replaces a stale socket. `answer` is called on connection threads, one
  // request line in, one answer line out; it outlives the object, as does `log`.
  static Result<std::unique_ptr<AdminSocket>> listen(const std::string& path,
                                                     std::function<std::string(const std::string&)> answer, Log& log);
  // Ends every connection after the answer that it waits for.
  ~AdminSocket();

  const std::string& path() const { return path_; }

 private:
  struct Connection {
    int socket = -1;
    std::atomic<bool> done = false;
    std::thread thread;
  };

  AdminSocket(std::string path, int listener, int stop_read, int stop_write,
              std::function<std::string(const std::string&)> answer, Log& log);
  void accept_all();
  void serve(Connection& connection);
  void sweep(bool all);

  std::string path_;
  int listener_, stop_read_, stop_write_;
  std::function<std::string(const std::string&)> answer_;
  Log& log_;
  std::list<Connection> connections_;  // the listener's thread only
  std::thread thread_;
};

}  // namespace shoal::coordinator
