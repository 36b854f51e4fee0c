#include "protocol/zmq/zmtp_probe.h"

#include <netdb.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <string_view>

namespace shoal::protocol::zmq {
namespace {

// ZMTP's signature: FF, eight bytes of padding, 7F.
constexpr std::size_t kSignature = 10;

bool reads_signature(int fd) {
  std::array<unsigned char, kSignature> bytes{};
  const ssize_t n = recv(fd, bytes.data(), bytes.size(), MSG_WAITALL);
  return n == static_cast<ssize_t>(bytes.size()) && bytes.front() == 0xFF && bytes.back() == 0x7F;
}

}  // namespace

bool greets(const std::string& endpoint, Duration limit) {
  constexpr std::string_view kScheme = "tcp://";
  const std::size_t colon = endpoint.rfind(':');
  if (!endpoint.starts_with(kScheme) || colon < kScheme.size()) return false;
  std::string host = endpoint.substr(kScheme.size(), colon - kScheme.size());
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);

  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), endpoint.c_str() + colon + 1, &hints, &found) != 0) return false;
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> addresses(found, &freeaddrinfo);

  const int fd = socket(found->ai_family, found->ai_socktype | SOCK_CLOEXEC, found->ai_protocol);
  if (fd < 0) return false;
  const auto us = std::chrono::duration_cast<std::chrono::microseconds>(limit).count();
  const timeval timeout{us / 1'000'000, us % 1'000'000};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);  // limits connect() as well
  const bool greeted = ::connect(fd, found->ai_addr, found->ai_addrlen) == 0 && reads_signature(fd);
  close(fd);
  return greeted;
}

}  // namespace shoal::protocol::zmq
