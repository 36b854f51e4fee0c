// The command line's end of the administration socket (docs/admin.md): one JSON request, one JSON answer.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "base/result.h"
#include "base/time.h"

namespace shoal::cli {

class AdminClient {
 public:
  // kUnavailable, with what to do, when no coordinator listens there; kDenied when the folder is another user's.
  static Result<AdminClient> connect(const std::string& socket_path);
  ~AdminClient();
  AdminClient(AdminClient&& other) noexcept;
  AdminClient& operator=(AdminClient&&) = delete;

  // The `data` of the answer, or the coordinator's refusal with its code. kUnavailable when the coordinator went away,
  // kTimeout when it stays silent for `patience`; after either the connection is of no more use.
  Result<nlohmann::json> call(const std::string& op, nlohmann::json args = nlohmann::json::object(),
                              Duration patience = std::chrono::seconds(90));

 private:
  AdminClient(int descriptor, std::string path) : descriptor_(descriptor), path_(std::move(path)) {}
  Status send_line(const std::string& line);
  Result<std::string> receive_line(Duration patience);

  int descriptor_;
  std::string path_;
  std::string received_;  // beyond the newest line
};

// The socket that a command without --socket means: $SHOAL_SOCKET, the coordinator in this folder, or this machine's
// service.
std::string default_admin_socket();

}  // namespace shoal::cli
