// Administration requests (docs/admin.md): JSON in, JSON out, carried out on the service's owner thread.
#pragma once

#include <functional>
#include <string>

#include "coordinator/service.h"

namespace shoal::coordinator {

// What administration needs besides the service; programs provide it, since TOML and keys are not this folder's.
struct AdminTools {
  std::function<Result<JobSpec>(const std::string& toml)> parse_spec;
  std::function<std::string(const JobSpec& spec)> print_spec;
  protocol::PublicKey server_key{};
  std::string version, build;
  ModelStore& models;
};

// Answers one request. Thread-safe: blocks the calling thread until the service's next turns have answered it, for
// the request's own wait, or until the service has ended.
class Admin {
 public:
  // `service` outlives the object; once its serve() has returned, requests are answered with `unavailable`.
  Admin(Service& service, AdminTools tools);

  // One JSON object to one JSON object, both without a newline. Never throws; malformed requests get an error.
  std::string answer(const std::string& request);

 private:
  Service& service_;
  AdminTools tools_;
};

}  // namespace shoal::coordinator
