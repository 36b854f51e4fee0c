#include "bench/federation.h"

#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <thread>

#include "base/steady_clock.h"
#include "client/daemon.h"
#include "coordinator/memory_store.h"
#include "coordinator/model_import.h"
#include "coordinator/rocksdb/store.h"
#include "coordinator/service.h"
#include "protocol/keys.h"
#include "protocol/safetensors_file.h"
#include "protocol/zmq/bulk.h"
#include "protocol/zmq/control.h"

namespace shoal::bench {
namespace {

// Warnings and errors reach the person who measures; the rest is not printed.
class QuietLog final : public Log {
 public:
  void write(LogLevel level, std::string_view line) override {
    if (level >= LogLevel::kWarning) std::fprintf(stderr, "%.*s\n", static_cast<int>(line.size()), line.data());
  }
};

template <class T>
T must(Result<T> result) {
  if (result.ok()) return std::move(result).value();
  std::fprintf(stderr, "%s\n", result.error().to_string().c_str());
  std::exit(1);
}
void must(Status status) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s\n", status.error().to_string().c_str());
  std::exit(1);
}

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// One device: enrolled beforehand, run by its own thread.
struct Device {
  std::unique_ptr<client::Daemon> daemon;
  std::thread thread;
};

client::LocalData some_data() {
  client::LocalData local;
  local.dataset.shape = {1};
  local.dataset.classes = 2;
  local.dataset.floats.assign(10, 0.5f);
  local.dataset.labels.assign(10, 0);
  for (std::uint32_t row = 0; row < 10; ++row) local.split.train.push_back(row);
  return local;
}

}  // namespace

FederationResult run_federation(const FederationOptions& options) {
  namespace fs = std::filesystem;
  const std::string folder = options.folder + "/federation",
                    client_folder = options.client_folder + "/federation-clients";
  for (const std::string& made : {folder, client_folder}) {
    fs::remove_all(made);
    fs::create_directories(made);
  }

  coordinator::MemoryStore memory;
  coordinator::Store real;
  if (options.real_store) real = must(coordinator::open_store({.path = folder + "/coordinator", .build = "bench"}));
  coordinator::Journal& journal = options.real_store ? *real.journal : memory.journal;
  coordinator::BodyStore& bodies = options.real_store ? *real.bodies : memory.bodies;
  coordinator::ModelStore& models = options.real_store ? *real.models : memory.models;

  const auto registry = must(coordinator::Registry::load(journal));
  coordinator::History history = must(coordinator::History::open(folder + "/history"));
  const protocol::KeyPair server_keys = must(protocol::make_key_pair());
  protocol::zmq::ControlServerOptions control_options;
  control_options.endpoint = "tcp://127.0.0.1:*";
  control_options.keys = server_keys;
  control_options.admission = [&](const protocol::PublicKey& key) { return registry->admit(key); };
  const auto control = must(protocol::zmq::make_control_server(std::move(control_options)));
  protocol::zmq::BulkServerOptions bulk_options;
  bulk_options.endpoint = "tcp://127.0.0.1:*";
  const auto bulk = must(protocol::zmq::make_bulk_server(bulk_options));

  const SteadyClock clock;
  QuietLog log;
  coordinator::Metrics metrics;
  const auto unix_seconds = [] { return std::int64_t{1}; };
  const auto service =
      must(coordinator::Service::start({}, {journal, bodies, models, *registry, *control, *bulk, clock, unix_seconds,
                                            [] { return std::uint64_t{1} << 40; }, history, metrics, log}));
  std::thread server([&] { must(service->serve()); });

  std::vector<TensorSpec> tensors{{"w", {options.floats}, "backbone"}};
  const TensorLayout layout = must(TensorLayout::make(tensors));
  must(protocol::write_model(folder + "/model.safetensors", layout, std::vector<float>(options.floats), {}));

  std::vector<Device> devices(options.clients);
  for (std::size_t i = 0; i < options.clients; ++i) {
    protocol::Invitation invitation;
    invitation.coordinator = "bench";
    invitation.endpoint = control->endpoint();
    invitation.server_key = server_keys.public_key;
    invitation.key = must(protocol::make_key_pair());
    invitation.expires = 1000;
    std::promise<void> invited;
    service->post([&](coordinator::Service& s) {
      must(s.registry().invite(invitation.key.public_key, invitation.expires));
      invited.set_value();
    });
    invited.get_future().wait();
    client::ClientOptions client_options;
    client_options.state = client_folder + "/client-" + std::to_string(i);
    client_options.name = "client-" + std::to_string(i);
    client_options.trainer = client::TrainerKind::kSynthetic;
    auto enrolment = must(client::Enrolment::join(client_options.state, invitation));
    const client::Dial dial = [](const std::string& endpoint, const protocol::PublicKey& key,
                                 const protocol::KeyPair& keys) {
      protocol::zmq::ControlChannelOptions channel;
      channel.endpoint = endpoint;
      channel.server_key = key;
      channel.keys = keys;
      return protocol::zmq::make_control_channel(std::move(channel));
    };
    devices[i].daemon = must(client::Daemon::make({client_options, std::move(enrolment), some_data(), dial,
                                                   protocol::zmq::make_bulk_client(), &clock, &log, "bench"}));
    devices[i].thread = std::thread([&device = devices[i]] { (void)device.daemon->run(); });
  }

  // The job begins when everyone is there, and its end is waited for by looking at the owner's state.
  const auto ask = [&](auto question) {
    std::promise<decltype(question(*service))> answer;
    service->post([&](coordinator::Service& s) { answer.set_value(question(s)); });
    return answer.get_future().get();
  };
  while (ask([](coordinator::Service& s) { return s.machine().online_devices(); }) < options.clients)
    std::this_thread::yield();
  const double cpu_before = cpu_seconds();
  const auto wall_before = std::chrono::steady_clock::now();
  const JobId id{1};
  const coordinator::ModelRef model = must(coordinator::import_model(
      folder + "/model.safetensors", id, options.spec.training.plan, options.spec.optimizer, models));
  std::promise<void> submitted;
  service->post([&](coordinator::Service& s) {
    must(s.submit(id, options.spec, model, "", [&](JobId) { submitted.set_value(); }));
  });
  submitted.get_future().wait();
  std::uint64_t news = 0;
  while (ask([&](coordinator::Service& s) { return s.machine().job(id)->status; }) == coordinator::JobStatus::kRunning)
    news = service->wait_for_news(news, std::chrono::seconds(1));

  FederationResult result;
  result.wall_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - wall_before).count();
  result.cpu_seconds = cpu_seconds() - cpu_before;
  const std::vector<coordinator::HistoryRow> rows = ask([&](coordinator::Service& s) { return s.history().rows(id); });
  for (std::size_t i = 1; i < rows.size(); ++i) result.round_seconds.push_back(rows[i].seconds - rows[i - 1].seconds);
  result.bulk_bytes_received = bulk->counters().bytes_received;
  result.bulk_bytes_sent = bulk->counters().bytes_sent;
  for (Device& device : devices) device.daemon->stop();
  for (Device& device : devices) device.thread.join();
  service->stop();
  server.join();
  fs::remove_all(folder);
  fs::remove_all(client_folder);
  return result;
}

}  // namespace shoal::bench
