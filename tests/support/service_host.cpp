#include "tests/support/service_host.h"

#include <stdexcept>

#include "coordinator/model_import.h"
#include "protocol/keys.h"
#include "protocol/safetensors_file.h"
#include "protocol/zmq/control.h"

namespace shoal::testing {

using coordinator::Service;

namespace {

constexpr Duration kPatience = std::chrono::seconds(20);

}  // namespace

ServiceHost::ServiceHost(coordinator::ServiceOptions options)
    : registry_(coordinator::Registry::load(store.journal).value()),
      history_(coordinator::History::open(folder_.file("history")).value()),
      keys_(protocol::make_key_pair().value()) {
  protocol::zmq::ControlServerOptions control;
  control.endpoint = "tcp://127.0.0.1:*";
  control.keys = keys_;
  control.admission = [this](const protocol::PublicKey& key) { return registry_->admit(key); };
  control_ = protocol::zmq::make_control_server(std::move(control)).value();
  protocol::zmq::BulkServerOptions bulk;
  bulk.endpoint = "tcp://127.0.0.1:*";
  bulk_ = protocol::zmq::make_bulk_server(bulk).value();
  endpoint_ = control_->endpoint();
  service_ = Service::start(std::move(options), {store.journal, store.bodies, store.models, *registry_, *control_,
                                                 *bulk_, clock_, [this] { return unix_seconds.load(); },
                                                 [this] { return free_disk_bytes.load(); }, history_, metrics_, log_})
                 .value();
  owner_ = std::thread([this] { service_->serve().value(); });
}

ServiceHost::~ServiceHost() { end(); }

void ServiceHost::end() {
  service_->stop();
  if (owner_.joinable()) owner_.join();
}

ScriptedDevice ServiceHost::stranger(const protocol::KeyPair& keys) const {
  return {endpoint_, keys_.public_key, keys};
}

protocol::KeyPair ServiceHost::invite(std::int64_t expires_at) {
  const protocol::KeyPair keys = protocol::make_key_pair().value();
  ask([&](Service& s) { return s.registry().invite(keys.public_key, expires_at); }).value();
  return keys;
}

ScriptedDevice ServiceHost::enrol() {
  const protocol::KeyPair invitation = invite(unix_seconds + 60), keys = protocol::make_key_pair().value();
  ask([&](Service& s) {
    return s.registry().redeem(invitation.public_key, keys.public_key, "scripted", true, unix_seconds);
  }).value();
  return stranger(keys);
}

JobId ServiceHost::submit(const coordinator::JobSpec& spec, std::uint64_t floats) {
  const std::string file = folder_.file("model.safetensors");
  const TensorLayout layout = TensorLayout::make({{"w", {floats}, "backbone"}}).value();
  protocol::write_model(file, layout, std::vector<float>(floats), {}).value();
  const JobId id = ask([](Service& s) { return s.next_job_id(); });
  const coordinator::ModelRef model =
      coordinator::import_model(file, id, spec.training.plan, spec.optimizer, store.models).value();
  std::promise<void> durable;
  ask([&](Service& s) { return s.submit(id, spec, model, "", [&](JobId) { durable.set_value(); }); }).value();
  durable.get_future().wait();
  return id;
}

coordinator::JobSummary ServiceHost::job(JobId id) {
  return ask([&](Service& s) { return s.machine().job(id).value(); });
}

void ServiceHost::await(const std::string& what, const std::function<bool(Service&)>& condition) {
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (!ask(condition)) {
    if (std::chrono::steady_clock::now() > until) throw std::runtime_error(what + " did not come in time");
    service_->wait_for_news(0, std::chrono::milliseconds(1));
  }
}

void ServiceHost::await_version(JobId id, Version version) {
  await("version " + std::to_string(version), [&](Service& s) { return s.machine().job(id)->version >= version; });
}

void ServiceHost::set_fault(std::function<Status(coordinator::StoreOperation)> fault) {
  ask([&](Service&) { return (store.faults.before = std::move(fault)) != nullptr; });
}

void ServiceHost::fail(coordinator::StoreOperation which, ErrorCode code) {
  failing_ = true;
  failed_ = 0;
  set_fault([this, which, code](coordinator::StoreOperation operation) -> Status {
    if (operation != which || !failing_) return {};
    ++failed_;
    return Error(code, "as the test wants it");
  });
}

protocol::Traffic ServiceHost::moved() const {
  const protocol::BulkCounters bulk = bulk_->counters();
  protocol::Traffic all = control_->traffic();
  return all += {bulk.bytes_received, bulk.bytes_sent};
}

double ServiceHost::refusals(protocol::Refusal refusal) const {
  return metrics_.value("shoal_refusals_total", {"reason", protocol::text_of(refusal).name});
}

}  // namespace shoal::testing
