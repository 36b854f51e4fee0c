#include "cli/admin_client.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string_view>
#include <utility>

namespace shoal::cli {
namespace {

constexpr const char* kLocalSocket = "shoal-data/admin/socket";
constexpr const char* kServiceSocket = "/var/lib/shoal/admin/socket";

ErrorCode code_from(std::string_view name) {
  static constexpr std::array<std::pair<std::string_view, ErrorCode>, 8> kCodes{
      {{"failed", ErrorCode::kFailed},
       {"corrupt", ErrorCode::kCorrupt},
       {"exhausted", ErrorCode::kExhausted},
       {"invalid", ErrorCode::kInvalid},
       {"unavailable", ErrorCode::kUnavailable},
       {"denied", ErrorCode::kDenied},
       {"timeout", ErrorCode::kTimeout},
       {"not-found", ErrorCode::kNotFound}}};
  for (const auto& [text, code] : kCodes)
    if (text == name) return code;
  return ErrorCode::kFailed;
}

Error cannot_connect(const std::string& path, int error) {
  if (error == EACCES || error == EPERM)
    return Error(ErrorCode::kDenied,
                 "the coordinator's socket " + path + " belongs to another user; run this as that user");
  if (error == ENOENT || error == ECONNREFUSED)
    return Error(ErrorCode::kUnavailable,
                 "no coordinator listens on " + path + "; start shoal-coordinator, or name its socket with --socket");
  return errno_error(ErrorCode::kUnavailable, "cannot connect to " + path, error);
}

}  // namespace

Result<AdminClient> AdminClient::connect(const std::string& socket_path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.empty() || socket_path.size() >= sizeof address.sun_path)
    return Error(ErrorCode::kInvalid, "the socket path " + socket_path + " is empty or longer than " +
                                          std::to_string(sizeof address.sun_path - 1) + " bytes; give a shorter one");
  std::memcpy(address.sun_path, socket_path.c_str(), socket_path.size());
  AdminClient client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), socket_path);
  if (client.descriptor_ < 0) return errno_error(ErrorCode::kFailed, "cannot make a socket", errno);
  if (::connect(client.descriptor_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return cannot_connect(socket_path, errno);
  return client;
}

AdminClient::~AdminClient() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

AdminClient::AdminClient(AdminClient&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)),
      path_(std::move(other.path_)),
      received_(std::move(other.received_)) {}

Result<nlohmann::json> AdminClient::call(const std::string& op, nlohmann::json args, Duration patience) {
  using Json = nlohmann::json;
  const Json request{{"op", op}, {"args", std::move(args)}};
  SHOAL_TRY(send_line(request.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"));
  SHOAL_TRY_ASSIGN(const std::string line, receive_line(patience));
  const Json answer = Json::parse(line, nullptr, false);
  const auto has = [&](const char* name, bool (Json::*is)() const noexcept) {
    return answer.is_object() && answer.contains(name) && (answer[name].*is)();
  };
  if (has("ok", &Json::is_boolean) && answer["ok"].get<bool>() && answer.contains("data")) return answer["data"];
  if (has("code", &Json::is_string) && has("error", &Json::is_string))
    return Error(code_from(answer["code"].get<std::string>()), answer["error"].get<std::string>());
  return Error(ErrorCode::kCorrupt, "what listens on " + path_ + " does not speak Shoal's administration protocol");
}

Status AdminClient::send_line(const std::string& line) {
  for (std::size_t sent = 0; sent < line.size();) {
    const ssize_t n = ::send(descriptor_, line.data() + sent, line.size() - sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error(ErrorCode::kUnavailable, "the coordinator on " + path_ + " went away", errno);
    sent += static_cast<std::size_t>(n);
  }
  return {};
}

Result<std::string> AdminClient::receive_line(Duration patience) {
  const auto limit = std::chrono::steady_clock::now() + patience;
  for (;;) {
    if (const std::size_t end = received_.find('\n'); end != std::string::npos) {
      std::string line = received_.substr(0, end);
      received_.erase(0, end + 1);
      return line;
    }
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(limit - std::chrono::steady_clock::now());
    pollfd wait{descriptor_, POLLIN, 0};
    const int ready = left.count() <= 0 ? 0 : ::poll(&wait, 1, static_cast<int>(left.count()));
    if (ready < 0 && errno == EINTR) continue;
    if (ready == 0) return Error(ErrorCode::kTimeout, "the coordinator on " + path_ + " does not answer");
    std::array<char, 65536> buffer;
    const ssize_t n = ::recv(descriptor_, buffer.data(), buffer.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return Error(ErrorCode::kUnavailable, "the coordinator on " + path_ + " went away before it answered");
    received_.append(buffer.data(), static_cast<std::size_t>(n));
  }
}

std::string default_admin_socket() {
  if (const char* named = std::getenv("SHOAL_SOCKET"); named != nullptr && *named != '\0') return named;
  std::error_code ignored;
  const bool only_service =
      !std::filesystem::exists(kLocalSocket, ignored) && std::filesystem::exists(kServiceSocket, ignored);
  return only_service ? kServiceSocket : kLocalSocket;
}

}  // namespace shoal::cli
