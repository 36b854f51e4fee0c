// A federation of real processes for one test: a coordinator and clients on free loopback ports, each with a folder of
// its own.
//
// Nothing here sleeps: waits are for admin answers, log lines and process ends, and every one has a deadline. What does
// not come in time, and every admin request that is refused unexpectedly, throws std::runtime_error with what the
// programs logged last.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "tests/support/process.h"
#include "tests/support/temporary_folder.h"

namespace shoal::testing {

using Json = nlohmann::json;
using Settings = std::vector<std::string>;  // key=value, as for --set

inline constexpr Duration kPatience = std::chrono::seconds(60);

// A port on loopback that nobody listens on, from a range that the system gives to no connection by itself.
int free_port();

// The path of a program of this build: "shoal", "shoal-coordinator" or "shoal-client".
std::string program(const std::string& name);

// A safetensors file with one tensor of `floats` values that follow from the seed.
void write_model(const std::string& path, std::uint64_t floats, std::uint64_t seed = 1);

// SHA-256 of a file, in hex.
std::string digest_of(const std::string& path);

class Federation {
 public:
  // `settings` of the coordinator, besides its folder and ports. Nothing runs yet.
  explicit Federation(Settings settings = {});

  std::string path(const std::string& name) const { return folder_.file(name); }
  std::string data() const { return path("coordinator"); }
  std::string socket() const { return data() + "/admin/socket"; }
  const std::string& control() const { return control_; }  // tcp://127.0.0.1:PORT
  const std::string& bulk() const { return bulk_; }

  // ---- the coordinator ----

  ProcessOptions coordinator_command(const Settings& more = {}) const;
  // Returns when it answers.
  void start_coordinator(const Settings& more = {});
  void kill_coordinator();
  // SIGTERM.
  ExitCode stop_coordinator();
  Process& coordinator() { return *coordinator_; }
  std::string coordinator_log() const;  // of all its lives

  // ---- clients, numbered from 0 ----

  // Invites and starts one with the synthetic trainer, and waits until it is enrolled: so the n-th client is device n
  // + 1.
  std::size_t add_client(const Settings& settings = {});
  void start_client(std::size_t client);
  void kill_client(std::size_t client);
  Process& client(std::size_t client) { return *clients_.at(client).process; }
  std::string client_state(std::size_t client) const { return path("client-" + std::to_string(client)); }
  std::string client_log(std::size_t client) const;  // of all its lives
  std::size_t clients() const { return clients_.size(); }
  // The file of a new invitation.
  std::string invite(std::int64_t valid_seconds = 3600);
  ProcessOptions client_command(const std::string& state, const Settings& settings,
                                const std::string& invitation = "") const;
  // Assignments for which a client has logged its receipt.
  std::set<std::uint64_t> receipts(std::size_t client) const;

  // ---- administration ----

  Result<Json> ask(const std::string& op, const Json& args = Json::object()) const;
  Json admin(const std::string& op, const Json& args = Json::object()) const;
  // `shoal WORDS...`, with this coordinator's socket.
  Finished shoal(std::vector<std::string> words, Duration limit = kPatience) const;
  // `spec` is TOML without the model. Returns the job's number.
  std::uint64_t submit(const std::string& spec, const std::string& model) const;
  // Follows the job until it has this version or has ended; survives no restart of the coordinator meanwhile.
  Json await_version(std::uint64_t job, std::uint64_t version, Duration limit = kPatience) const;
  Json await_end(std::uint64_t job, Duration limit = kPatience) const;
  void await_online(std::size_t devices, Duration limit = kPatience) const;
  // Until the condition holds, which nothing announces: it is looked at again and again while the coordinator runs.
  void await(const std::string& what, const std::function<bool()>& condition, Duration limit = kPatience) const;
  // Exports the job and returns its model's digest.
  std::string export_digest(std::uint64_t job, const std::string& folder) const;

  // ---- the coordinator's web page ----

  struct Page {
    int status = 0;  // 0: nobody answers
    std::string body;
  };
  Page get(const std::string& path) const;
  // One sample of /metrics, named with its labels; 0 when it is not there.
  double metric(const std::string& name) const;

 private:
  struct Client {
    Settings settings;
    std::unique_ptr<Process> process;
    std::string earlier_logs;
  };
  [[noreturn]] void fail(const std::string& what) const;

  TemporaryFolder folder_;  // goes last
  Settings settings_;
  std::string control_, bulk_;
  int http_port_;
  std::unique_ptr<Process> coordinator_;
  std::string earlier_logs_;
  std::vector<Client> clients_;
  std::size_t invitations_ = 0;
};

}  // namespace shoal::testing
