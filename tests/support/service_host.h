// The coordinator's service in this process, over real loopback sockets and stores in memory, with every outer
// condition in the test's hand: faults of the store, room on the disk, the wall clock.
#pragma once

#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>

#include "base/steady_clock.h"
#include "coordinator/memory_store.h"
#include "coordinator/service.h"
#include "tests/support/scripted_device.h"
#include "tests/support/temporary_folder.h"

namespace shoal::testing {

class ServiceHost {
 public:
  explicit ServiceHost(coordinator::ServiceOptions options = {});
  ~ServiceHost();

  // A device that is enrolled but not connected; the n-th one has the id n.
  ScriptedDevice enrol();
  // An invitation's one-time key, for a device that redeems it itself.
  protocol::KeyPair invite(std::int64_t expires_at);
  ScriptedDevice stranger(const protocol::KeyPair& keys) const;

  // A job whose model has `floats` zeros.
  JobId submit(const coordinator::JobSpec& spec, std::uint64_t floats);
  coordinator::JobSummary job(JobId id);
  // Throws std::runtime_error when the condition does not come to hold in time.
  void await(const std::string& what, const std::function<bool(coordinator::Service&)>& condition);
  void await_version(JobId id, Version version);

  // Runs the question on the service's own thread.
  template <class Question>
  auto ask(Question question) -> decltype(question(std::declval<coordinator::Service&>())) {
    std::promise<decltype(question(std::declval<coordinator::Service&>()))> answer;
    auto future = answer.get_future();
    service_->post([&](coordinator::Service& s) { answer.set_value(question(s)); });
    return future.get();
  }

  // As a SIGTERM does it: the service drains, and serve() has returned when this does.
  void end();

  coordinator::Service& service() { return *service_; }
  const std::string& endpoint() const { return endpoint_; }
  const protocol::PublicKey& server_key() const { return keys_.public_key; }
  double refusals(protocol::Refusal refusal) const;
  const coordinator::Metrics& metrics() const { return metrics_; }
  // By both planes so far. On the service's own thread.
  protocol::Traffic moved() const;

  // Sets what is asked before every operation of the stores, while no transfer and no fold is under way.
  void set_fault(std::function<Status(coordinator::StoreOperation)> fault);
  // The operation fails with this code until recover().
  void fail(coordinator::StoreOperation operation, ErrorCode code);
  void recover() { failing_ = false; }
  int failures() const { return failed_; }  // since fail()

  coordinator::MemoryStore store;
  // Read by the service's threads.
  std::atomic<std::int64_t> unix_seconds{1'700'000'000};
  std::atomic<std::uint64_t> free_disk_bytes{std::uint64_t{1} << 40};

 private:
  class Silence final : public Log {
    void write(LogLevel, std::string_view) override {}
  };

  std::atomic<bool> failing_{false};
  std::atomic<int> failed_{0};
  TemporaryFolder folder_;
  SteadyClock clock_;
  Silence log_;
  coordinator::Metrics metrics_;
  std::unique_ptr<coordinator::Registry> registry_;
  coordinator::History history_;
  protocol::KeyPair keys_;
  std::unique_ptr<protocol::ControlServer> control_;
  std::unique_ptr<protocol::BulkServer> bulk_;
  std::string endpoint_;
  std::unique_ptr<coordinator::Service> service_;
  std::thread owner_;
};

}  // namespace shoal::testing
