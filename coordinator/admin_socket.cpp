#include "coordinator/admin_socket.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

namespace shoal::coordinator {
namespace {

constexpr timeval kSendLimit{2, 0};  // whoever does not read for so long is gone

// All of it, or false when the other side is gone.
bool send_all(int socket, const std::string& text) {
  for (std::size_t sent = 0; sent < text.size();) {
    const ssize_t n = ::send(socket, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    sent += static_cast<std::size_t>(n);
  }
  return true;
}

Status make_private_folder(const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return Error(ErrorCode::kInvalid, "cannot make the folder " + folder + ": " + error.message());
  if (::chmod(folder.c_str(), 0700) != 0)
    return errno_error(ErrorCode::kDenied, "cannot make " + folder + " private", errno);
  return {};
}

}  // namespace

Result<std::unique_ptr<AdminSocket>> AdminSocket::listen(const std::string& path,
                                                         std::function<std::string(const std::string&)> answer,
                                                         Log& log) {
  SHOAL_TRY(make_private_folder(std::filesystem::path(path).parent_path().string()));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return Error(ErrorCode::kInvalid, "the socket's path " + path + " is longer than " +
                                          std::to_string(sizeof address.sun_path - 1) +
                                          " bytes; set `admin` to a shorter one");
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  const int listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (listener < 0) return errno_error(ErrorCode::kUnavailable, "cannot make a socket", errno);
  ::unlink(path.c_str());  // the data folder's lock says that nobody else listens here
  int stop[2];
  if (::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener, 16) != 0 || ::pipe2(stop, O_CLOEXEC) != 0) {
    const int saved = errno;
    ::close(listener);
    return errno_error(ErrorCode::kUnavailable, "cannot listen on " + path, saved);
  }
  return std::unique_ptr<AdminSocket>(new AdminSocket(path, listener, stop[0], stop[1], std::move(answer), log));
}

AdminSocket::AdminSocket(std::string path, int listener, int stop_read, int stop_write,
                         std::function<std::string(const std::string&)> answer, Log& log)
    : path_(std::move(path)),
      listener_(listener),
      stop_read_(stop_read),
      stop_write_(stop_write),
      answer_(std::move(answer)),
      log_(log),
      thread_([this] { accept_all(); }) {}

AdminSocket::~AdminSocket() {
  (void)!::write(stop_write_, "x", 1);
  thread_.join();
  ::close(listener_);
  ::close(stop_read_);
  ::close(stop_write_);
  ::unlink(path_.c_str());
}

void AdminSocket::accept_all() {
  for (;;) {
    pollfd ready[] = {{listener_, POLLIN, 0}, {stop_read_, POLLIN, 0}};
    if (::poll(ready, 2, -1) < 0 && errno != EINTR) break;
    if (ready[1].revents != 0) break;
    if ((ready[0].revents & POLLIN) == 0) continue;
    const int socket = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (socket < 0) continue;
    sweep(false);
    if (connections_.size() >= kMaxConnections) {
      log_.warn("an administration connection was turned away: there are " + std::to_string(kMaxConnections) +
                " already");
      ::close(socket);
      continue;
    }
    ::setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &kSendLimit, sizeof kSendLimit);
    Connection& connection = connections_.emplace_back();
    connection.socket = socket;
    connection.thread = std::thread([this, &connection] { serve(connection); });
  }
  sweep(true);
}

// Joins connections that have ended, or ends all.
void AdminSocket::sweep(bool all) {
  for (auto it = connections_.begin(); it != connections_.end();) {
    if (all) ::shutdown(it->socket, SHUT_RD);  // the answer that is being made still goes out
    if (!all && !it->done) {
      ++it;
      continue;
    }
    it->thread.join();
    ::close(it->socket);
    it = connections_.erase(it);
  }
}

void AdminSocket::serve(Connection& connection) {
  std::string buffer;
  char piece[4096];
  for (;;) {
    const ssize_t n = ::recv(connection.socket, piece, sizeof piece, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    buffer.append(piece, static_cast<std::size_t>(n));
    bool alive = true;
    for (std::size_t end; alive && (end = buffer.find('\n')) != std::string::npos; buffer.erase(0, end + 1))
      alive = send_all(connection.socket, answer_(buffer.substr(0, end)) + "\n");
    if (!alive || buffer.size() > kMaxLine) break;
  }
  ::shutdown(connection.socket, SHUT_RDWR);  // the other side learns it now; the descriptor is closed by sweep()
  connection.done = true;
}

}  // namespace shoal::coordinator
