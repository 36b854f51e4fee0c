// shoal-client: parses its options, redeems an invitation if one is given, wires planes and data to the daemon, runs
// it.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <iterator>
#include <span>
#include <string>
#include <vector>

#include "base/steady_clock.h"
#include "cli/config.h"
#include "cli/console_log.h"
#include "cli/program.h"
#include "cli/stop_signals.h"
#include "client/daemon.h"
#include "protocol/durable_file.h"
#include "protocol/invitation.h"
#include "protocol/keys.h"
#include "protocol/limits.h"
#include "protocol/zmq/bulk.h"
#include "protocol/zmq/control.h"

namespace {

using namespace shoal;
using namespace shoal::client;

constexpr char kExamples[] =
    "Examples:\n"
    "  shoal-client --join invitation.txt --state /var/lib/shoal-client --set data=/srv/mnist\n"
    "  shoal-client --config /etc/shoal/client.toml\n"
    "  shoal-client --state ./b --set data=procedural:1:4:600 --set part=2 --set throttle=4\n"
    "\n"
    "Exit codes: 0 stopped as asked, 1 failed, 2 usage or configuration, 3 cannot connect or not allowed, 5 not found, "
    "70 a bug.";

struct Arguments {
  std::string config, state, join;
  std::vector<std::string> settings;
  bool print_config = false;
  bool verbose = false;
};

Result<ClientOptions> options_of(const Arguments& arguments) {
  ClientOptions options;
  if (!arguments.config.empty()) SHOAL_TRY(cli::load_file(arguments.config, options));
  for (const std::string& setting : arguments.settings) SHOAL_TRY(cli::set(options, setting));
  if (!arguments.state.empty()) options.state = arguments.state;
  if (arguments.verbose) options.log_level = LogLevel::kDebug;
  return options;
}

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "device";
}

Result<protocol::Invitation> read_invitation(const std::string& path) {
  std::string text;
  if (path == "-") {
    text.assign(std::istreambuf_iterator<char>(std::cin), {});
  } else {
    auto read = protocol::read_file(path, protocol::kMaxInvitationBytes);
    if (!read.ok()) return std::move(read).error().because_of_this("cannot read the invitation");
    text = std::move(*read);
  }
  auto invitation = protocol::parse_invitation(text);
  if (!invitation.ok())
    return std::move(invitation)
        .error()
        .because_of_this("the invitation " + (path == "-" ? "" : path + " ") + "is not valid");
  return invitation;
}

Result<Enrolment> enrol(const Arguments& arguments, const std::string& state) {
  if (arguments.join.empty()) return Enrolment::open(state);
  SHOAL_TRY_ASSIGN(const protocol::Invitation invitation, read_invitation(arguments.join));
  return Enrolment::join(state, invitation);
}

Result<std::unique_ptr<protocol::ControlChannel>> dial(const std::string& endpoint,
                                                       const protocol::PublicKey& server_key,
                                                       const protocol::KeyPair& keys) {
  protocol::zmq::ControlChannelOptions options;
  options.endpoint = endpoint;
  options.server_key = server_key;
  options.keys = keys;
  return protocol::zmq::make_control_channel(std::move(options));
}

Status run(const Arguments& arguments) {
  SHOAL_TRY_ASSIGN(ClientOptions options, options_of(arguments));
  if (arguments.print_config) {
    std::fputs(cli::print(options, cli::Docs::kWith).c_str(), stdout);
    return {};
  }
  if (options.name.empty()) options.name = host_name();
  const auto log = cli::make_console_log(options.log_level);
  const SteadyClock clock;

  // Signals are blocked before any thread exists; until the daemon does, they only need to be remembered.
  std::mutex mutex;
  Daemon* running = nullptr;
  bool asked = false;
  const cli::StopSignals signals([&] {
    const std::lock_guard lock(mutex);
    asked = true;
    if (running) running->stop();
  });

  SHOAL_TRY_ASSIGN(Enrolment enrolment, enrol(arguments, options.state));
  SHOAL_TRY_ASSIGN(LocalData data, load_local_data(options));
  log->info("shoal-client " + cli::build_text() + " name=" + options.name + " key=" +
            protocol::z85_encode(enrolment.keys().public_key) + " coordinator=" + enrolment.coordinator().endpoint);
  log->info("data " + options.data + " train=" + std::to_string(data.split.train.size()) +
            " test=" + std::to_string(data.split.test.size()) + " memory=" + human_bytes(data.bytes()));

  std::uint64_t process = 0;
  SHOAL_TRY(protocol::random_bytes(std::as_writable_bytes(std::span(&process, 1))));
  SHOAL_TRY_ASSIGN(const auto daemon,
                   Daemon::make({std::move(options), std::move(enrolment), std::move(data), dial,
                                 protocol::zmq::make_bulk_client(), &clock, log.get(), cli::build_text(), process}));
  {
    const std::lock_guard lock(mutex);
    running = daemon.get();
    if (asked) running->stop();
  }
  const protocol::Refusal end = daemon->run();
  {
    const std::lock_guard lock(mutex);
    running = nullptr;
  }
  if (end == protocol::Refusal::kNone) {
    log->info("stopped");
    return {};
  }
  return Error(ErrorCode::kDenied, std::string(text_of(end).name) + ": " + std::string(text_of(end).sentence));
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Trains on this device's data for a coordinator; the data never leave the device.");
  app.footer(kExamples);
  Arguments arguments;
  app.add_option("--join", arguments.join, "Redeem this invitation (a file, or - for standard input) and go on");
  app.add_option("--config", arguments.config, "TOML file of options (see configs/client.toml)");
  app.add_option("--state", arguments.state, "Folder of the device's key, models and unsent updates");
  app.add_option("--set", arguments.settings, "Set one option: KEY=VALUE; may be repeated")->allow_extra_args(false);
  app.add_flag("--print-config", arguments.print_config, "Print the effective options and exit");
  app.add_flag("-v,--verbose", arguments.verbose, "Log more");
  return cli::run_program("shoal-client", app, argc, argv, [&] { return run(arguments); });
}
