// shoal-coordinator: parses its options, opens the data folder, wires planes and stores to the service, runs it.
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <mutex>

#include "base/steady_clock.h"
#include "build_info.h"
#include "cli/config.h"
#include "cli/console_log.h"
#include "cli/heap.h"
#include "cli/program.h"
#include "cli/stop_signals.h"
#include "coordinator/admin.h"
#include "coordinator/admin_socket.h"
#include "coordinator/http.h"
#include "coordinator/rocksdb/store.h"
#include "coordinator/service.h"
#include "protocol/keys.h"
#include "protocol/zmq/bulk.h"
#include "protocol/zmq/control.h"

#ifdef SHOAL_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

namespace {

using namespace shoal;
using namespace shoal::coordinator;

std::int64_t unix_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// Connections are descriptors, and libzmq's thread spins when they run out.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  (void)::setrlimit(RLIMIT_NOFILE, &limit);
}

// Lets a signal stop the service as soon as there is one.
class StopSwitch {
 public:
  void ask() {
    const std::lock_guard lock(mutex_);
    asked_ = true;
    if (service_ != nullptr) service_->stop();
  }
  // nullptr before the service goes.
  void connect(Service* service) {
    const std::lock_guard lock(mutex_);
    service_ = service;
    if (asked_ && service_ != nullptr) service_->stop();
  }

 private:
  std::mutex mutex_;
  bool asked_ = false;
  Service* service_ = nullptr;
};

Result<protocol::KeyPair> server_keys(const std::string& path) {
  if (std::filesystem::exists(path)) return protocol::load_key_pair(path);
  SHOAL_TRY_ASSIGN(const protocol::KeyPair keys, protocol::make_key_pair());
  SHOAL_TRY(protocol::save_key_pair(path, keys));
  return keys;
}

Result<JobSpec> parse_spec(const std::string& toml) {
  JobSpec spec;
  SHOAL_TRY(cli::load(toml, "job", spec));
  return spec;
}

void tell_supervisor(const char* state) {
#ifdef SHOAL_SYSTEMD
  ::sd_notify(0, state);
#else
  (void)state;
#endif
}

Status run(const ServiceOptions& options, bool discard_open_rounds, Log& log) {
  cli::keep_heap_steady();
  raise_descriptor_limit();
  StopSwitch stop;
  const cli::StopSignals signals([&stop] { stop.ask(); });  // before any thread is made
  StoreOptions store_options;
  store_options.path = options.data;
  store_options.build = cli::build_id();
  store_options.archive_events = options.keep_journal;
  store_options.discard_open_rounds = discard_open_rounds;
  SHOAL_TRY_ASSIGN(Store store, open_store(store_options));
  SHOAL_TRY_ASSIGN(const auto registry, Registry::load(*store.journal));
  SHOAL_TRY_ASSIGN(History history, History::open(options.data + "/history"));
  SHOAL_TRY_ASSIGN(const protocol::KeyPair keys, server_keys(options.data + "/server.key"));

  protocol::zmq::ControlServerOptions control_options;
  control_options.endpoint = options.control;
  control_options.keys = keys;
  control_options.admission = [&registry](const protocol::PublicKey& key) { return registry->admit(key); };
  SHOAL_TRY_ASSIGN(const auto control, protocol::zmq::make_control_server(std::move(control_options)));
  protocol::zmq::BulkServerOptions bulk_options;
  bulk_options.endpoint = options.bulk;
  bulk_options.advertised = options.advertised_bulk;
  // An eighth of the limit for chunks on their way; folds, journal and program take the rest.
  bulk_options.chunks_in_flight = static_cast<std::uint32_t>(options.memory_limit.count / 8 / protocol::kChunkBytes);
  SHOAL_TRY_ASSIGN(const auto bulk, protocol::zmq::make_bulk_server(bulk_options));

  Metrics metrics;
  const SteadyClock clock;
  const auto free_bytes = [&options] {
    std::error_code error;
    const auto space = std::filesystem::space(options.data, error);
    return error ? std::uint64_t{0} : static_cast<std::uint64_t>(space.available);
  };
  SHOAL_TRY_ASSIGN(const auto service,
                   Service::start(options, {*store.journal, *store.bodies, *store.models, *registry, *control, *bulk,
                                            clock, unix_seconds, free_bytes, history, metrics, log}));
  Admin admin(*service, {parse_spec, [](const JobSpec& spec) { return cli::print(spec); }, keys.public_key, kVersion,
                         kGitHash, *store.models});
  const std::string socket = options.admin.empty() ? options.data + "/admin/socket" : options.admin;
  SHOAL_TRY_ASSIGN(auto admin_socket,
                   AdminSocket::listen(
                       socket, [&admin](const std::string& request) { return admin.answer(request); }, log));
  std::unique_ptr<HttpServer> http;
  if (!options.http.empty()) {
    SHOAL_TRY_ASSIGN(http, HttpServer::listen(options.http, metrics, [&service] { return service->ready(); }));
  }
  stop.connect(service.get());

  log.info("shoal-coordinator " + std::string(kVersion) + " (" + kGitHash + ") name=" + options.name + " control=" +
           control->endpoint() + " bulk=" + bulk->endpoint() + " http=" + options.http + " admin=" + socket);
  tell_supervisor("READY=1");
  Status served = service->serve();
  stop.connect(nullptr);
  tell_supervisor("STOPPING=1");
  admin_socket.reset();
  http.reset();
  log.info(served.ok() ? "stopped" : "stopped with an error");
  return served;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("The coordinator of Shoal: runs federated jobs over enrolled devices as a service.");
  app.footer(
      "Example:\n  shoal-coordinator --config coordinator.toml --set data=/var/lib/shoal\n\n"
      "Exit codes: 0 ok, 1 failed, 2 configuration, 3 cannot connect or not allowed, 70 a bug.");
  std::string config;
  std::vector<std::string> settings;
  bool print_config = false, discard = false, verbose = false;
  app.add_option("--config", config, "TOML file of options");
  app.add_option("--set", settings, "Override one option: key=value");
  app.add_flag("--print-config", print_config, "Print the effective options and exit");
  app.add_flag("--discard-open-rounds", discard, "Begin anew on the state of another build: its jobs are forgotten");
  app.add_flag("-v,--verbose", verbose, "Log more");
  return cli::run_program("shoal-coordinator", app, argc, argv, [&]() -> Status {
    ServiceOptions options;
    if (!config.empty()) SHOAL_TRY(cli::load_file(config, options));
    for (const std::string& setting : settings) SHOAL_TRY(cli::set(options, setting));
    if (print_config) {
      std::fputs(cli::print(options, cli::Docs::kWith).c_str(), stdout);
      return {};
    }
    const auto log = cli::make_console_log(verbose ? LogLevel::kDebug : LogLevel::kInfo);
    return run(options, discard, *log);
  });
}
