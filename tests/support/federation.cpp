#include "tests/support/federation.h"

#include <httplib.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>
#include <stdexcept>
#include <utility>

#include "base/rng.h"
#include "cli/admin_client.h"
#include "protocol/safetensors_file.h"
#include "protocol/sha256.h"

namespace shoal::testing {
namespace {

constexpr std::uint64_t kFollowMs = 1000;  // one question; the coordinator answers earlier with news

// The last lines say what went wrong.
std::string tail(const std::string& log) {
  constexpr std::size_t kShown = 2500;
  return log.size() <= kShown ? log : "..." + log.substr(log.size() - kShown);
}

bool nobody_listens_on(int port) {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int yes = 1;
  ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  const bool free = ::bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  ::close(socket);
  return free;
}

std::string setting(const std::string& name, const std::string& value) { return name + "=" + value; }

void add_settings(std::vector<std::string>& command, const Settings& settings) {
  for (const std::string& s : settings) {
    command.emplace_back("--set");
    command.push_back(s);
  }
}

}  // namespace

int free_port() {
  constexpr int kFirst = 15000, kCount = 15000;  // below the ports of outgoing connections
  static std::uint64_t draws = 0;
  for (int attempt = 0; attempt < 1000; ++attempt) {
    Stream draw(static_cast<std::uint64_t>(::getpid()), "ports", ++draws);
    const int port = kFirst + static_cast<int>(draw.below(kCount));
    if (nobody_listens_on(port)) return port;
  }
  throw std::runtime_error("no free port was found");
}

std::string program(const std::string& name) { return std::string(SHOAL_BINARY_DIR) + "/bin/" + name; }

void write_model(const std::string& path, std::uint64_t floats, std::uint64_t seed) {
  const TensorLayout layout = TensorLayout::make({{"w", {floats}, "backbone"}}).value();
  std::vector<float> values(floats);
  Stream stream(seed, "test model");
  for (float& value : values) value = static_cast<float>(stream.uniform()) - 0.5f;
  protocol::write_model(path, layout, values, {}).value();
}

std::string digest_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("cannot read " + path);
  const std::string content{std::istreambuf_iterator<char>(in), {}};
  return protocol::sha256(std::as_bytes(std::span(content))).hex();
}

Federation::Federation(Settings settings)
    : settings_(std::move(settings)),
      control_("tcp://127.0.0.1:" + std::to_string(free_port())),
      bulk_("tcp://127.0.0.1:" + std::to_string(free_port())),
      http_port_(free_port()) {}

void Federation::fail(const std::string& what) const {
  std::string text = what + "\n--- coordinator:\n" + tail(coordinator_log());
  for (std::size_t i = 0; i < clients_.size(); ++i)
    text += "\n--- client " + std::to_string(i) + ":\n" + tail(client_log(i));
  throw std::runtime_error(text);
}

// ---- the coordinator ----

ProcessOptions Federation::coordinator_command(const Settings& more) const {
  ProcessOptions options;
  options.command = {program("shoal-coordinator")};
  add_settings(options.command, {setting("data", data()), setting("control", control_), setting("bulk", bulk_),
                                 setting("http", "127.0.0.1:" + std::to_string(http_port_))});
  add_settings(options.command, settings_);
  add_settings(options.command, more);
  return options;
}

void Federation::start_coordinator(const Settings& more) {
  if (coordinator_) earlier_logs_ += coordinator_->log();
  coordinator_ = std::make_unique<Process>(coordinator_command(more));
  if (coordinator_->await_log(" admin=" + socket(), kPatience) == std::string::npos)
    fail("the coordinator does not start");
}

void Federation::kill_coordinator() { coordinator_->kill(); }

ExitCode Federation::stop_coordinator() {
  coordinator_->signal(SIGTERM);
  const auto code = coordinator_->wait(kPatience);
  if (!code) fail("the coordinator does not stop");
  return *code;
}

std::string Federation::coordinator_log() const {
  return earlier_logs_ + (coordinator_ ? coordinator_->log() : std::string());
}

// ---- clients ----

std::string Federation::invite(std::int64_t valid_seconds) {
  const Json answer = admin("device.invite", {{"valid_seconds", valid_seconds}});
  const std::string file = path("invitation-" + std::to_string(invitations_++));
  std::ofstream(file) << answer.at("invitations").at(0).get<std::string>();
  return file;
}

ProcessOptions Federation::client_command(const std::string& state, const Settings& settings,
                                          const std::string& invitation) const {
  ProcessOptions options;
  options.command = {program("shoal-client"), "--state", state};
  if (!invitation.empty()) options.command.insert(options.command.end(), {"--join", invitation});
  add_settings(options.command, {"trainer=synthetic"});
  add_settings(options.command, settings);
  return options;
}

std::size_t Federation::add_client(const Settings& settings) {
  const std::size_t index = clients_.size();
  Client client;
  // A writer of its own for each: other clients have other numbers of samples.
  client.settings = {setting("data", "procedural:1:" + std::to_string(index) + ".." + std::to_string(index) + ":" +
                                         std::to_string(60 + 20 * index)),
                     setting("name", "client-" + std::to_string(index))};
  client.settings.insert(client.settings.end(), settings.begin(), settings.end());
  client.process = std::make_unique<Process>(client_command(client_state(index), client.settings, invite()));
  clients_.push_back(std::move(client));
  if (this->client(index).await_log("online as device", kPatience) == std::string::npos)
    fail("a client does not come online");
  return index;
}

void Federation::start_client(std::size_t index) {
  Client& client = clients_.at(index);
  client.earlier_logs += client.process->log();
  client.process = std::make_unique<Process>(client_command(client_state(index), client.settings));
}

void Federation::kill_client(std::size_t index) { client(index).kill(); }

std::string Federation::client_log(std::size_t index) const {
  const Client& client = clients_.at(index);
  return client.earlier_logs + (client.process ? client.process->log() : std::string());
}

std::set<std::uint64_t> Federation::receipts(std::size_t index) const {
  const std::string log = client_log(index), before = "assignment ", after = ": update received by the coordinator";
  std::set<std::uint64_t> ids;
  for (std::size_t at = log.find(after); at != std::string::npos; at = log.find(after, at + 1))
    ids.insert(std::stoull(log.substr(log.rfind(before, at) + before.size())));
  return ids;
}

// ---- administration ----

Result<Json> Federation::ask(const std::string& op, const Json& args) const {
  SHOAL_TRY_ASSIGN(cli::AdminClient client, cli::AdminClient::connect(socket()));
  return client.call(op, args, kPatience);
}

Json Federation::admin(const std::string& op, const Json& args) const {
  auto answer = ask(op, args);
  if (!answer.ok()) fail(op + ": " + answer.error().to_string());
  return std::move(*answer);
}

Finished Federation::shoal(std::vector<std::string> words, Duration limit) const {
  ProcessOptions options;
  options.command = std::move(words);
  options.command.insert(options.command.begin(), program("shoal"));
  options.environment = {"SHOAL_SOCKET=" + socket()};
  return run(std::move(options), limit);
}

std::uint64_t Federation::submit(const std::string& spec, const std::string& model) const {
  return admin("job.submit", {{"spec", spec}, {"model", model}}).at("id").get<std::uint64_t>();
}

Json Federation::await_version(std::uint64_t job, std::uint64_t version, Duration limit) const {
  const auto until = std::chrono::steady_clock::now() + limit;
  for (std::uint64_t after = 0;;) {
    const Json news = admin("job.follow", {{"job", job}, {"after", after}, {"wait_ms", kFollowMs}});
    const Json& summary = news.at("job");
    if (summary.at("version").get<std::uint64_t>() >= version || summary.at("status") != "running") return summary;
    for (const Json& row : news.at("rows")) after = std::max(after, row.at("version").get<std::uint64_t>());
    if (std::chrono::steady_clock::now() > until)
      fail("job " + std::to_string(job) + " is not at version " + std::to_string(version) +
           " in time: " + summary.dump());
  }
}

Json Federation::await_end(std::uint64_t job, Duration limit) const {
  Json summary = await_version(job, ~std::uint64_t{0}, limit);
  return summary;
}

void Federation::await_online(std::size_t devices, Duration limit) const {
  // The coordinator logs every device that comes; whether enough are there is asked after each line.
  const auto until = std::chrono::steady_clock::now() + limit;
  for (std::size_t seen = 0;;) {
    const Json status = admin("status");
    if (status.at("devices_online").get<std::size_t>() >= devices) return;
    const auto left = until - std::chrono::steady_clock::now();
    const std::size_t line =
        coordinator_->await_log("connected device=", std::max<Duration>(Duration::zero(), left), seen);
    if (line == std::string::npos) fail(std::to_string(devices) + " devices are not online in time: " + status.dump());
    seen = line + 1;
  }
}

void Federation::await(const std::string& what, const std::function<bool()>& condition, Duration limit) const {
  const auto until = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (coordinator_->wait(std::chrono::milliseconds(2))) fail("the coordinator ended before " + what);
    if (std::chrono::steady_clock::now() > until) fail(what + " did not come in time");
  }
}

std::string Federation::export_digest(std::uint64_t job, const std::string& folder) const {
  admin("job.export", {{"job", job}, {"folder", path(folder)}});
  return digest_of(path(folder) + "/model.safetensors");
}

// ---- the coordinator's web page ----

Federation::Page Federation::get(const std::string& path) const {
  httplib::Client client("127.0.0.1", http_port_);
  const auto answer = client.Get(path.c_str());
  return answer ? Page{answer->status, answer->body} : Page{};
}

double Federation::metric(const std::string& name) const {
  const std::string page = "\n" + get("/metrics").body, line = "\n" + name + " ";
  const std::size_t at = page.find(line);
  return at == std::string::npos ? 0 : std::stod(page.substr(at + line.size()));
}

}  // namespace shoal::testing
