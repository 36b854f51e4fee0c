// The whole client against a scripted coordinator in the same process: real sockets, encryption and disk, synthetic
// training.
#include "client/daemon.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <functional>
#include <future>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/steady_clock.h"
#include "protocol/keys.h"
#include "protocol/safetensors_file.h"
#include "protocol/sha256.h"
#include "protocol/wire.h"
#include "protocol/zmq/bulk.h"
#include "protocol/zmq/control.h"
#include "tests/support/relay.h"
#include "tests/support/temporary_folder.h"

namespace shoal::client {
namespace {

using protocol::kChunkBytes;
using protocol::kTagBytes;
using protocol::Refusal;
namespace message = protocol::message;
namespace fs = std::filesystem;
using namespace std::chrono_literals;

// A sealed object in memory, to send or to receive.
class Object final : public protocol::ChunkSource, public protocol::ChunkSink {
 public:
  // To be downloaded.
  Object(protocol::ObjectInfo object, std::span<const std::byte> plain) : info(object) {
    protocol::ChunkCipher cipher(info);
    for (std::uint32_t i = 0; i < info.chunks(); ++i) {
      auto& sealed = chunks.emplace_back(info.sealed_bytes(i));
      cipher.seal(i, plain.subspan(std::size_t{i} * kChunkBytes, sealed.size() - kTagBytes), sealed);
    }
  }
  // To be uploaded.
  Object(protocol::ObjectInfo object, std::function<void(std::uint32_t)> came, std::function<void()> done)
      : info(object), came_(std::move(came)), done_(std::move(done)) {}

  Status read(std::uint32_t chunk, std::vector<std::byte>& sealed) override {
    sealed = chunks.at(chunk);
    return {};
  }
  Status write(std::uint32_t chunk, std::span<const std::byte> sealed) override {
    if (chunk != chunks.size()) return Error(ErrorCode::kFailed, "chunks out of order");
    chunks.emplace_back(sealed.begin(), sealed.end());
    came_(chunk);
    return {};
  }
  void complete() override { done_(); }

  std::vector<std::byte> open() const {
    std::vector<std::byte> plain(info.bytes);
    protocol::ChunkCipher cipher(info);
    for (std::uint32_t i = 0; i < chunks.size(); ++i)
      EXPECT_TRUE(
          cipher
              .open(i, chunks[i], std::span(plain).subspan(std::size_t{i} * kChunkBytes, chunks[i].size() - kTagBytes))
              .ok());
    return plain;
  }
  Digest tags() const {
    protocol::Sha256 hash;
    for (const auto& chunk : chunks) hash.update(std::span(chunk).last(kTagBytes));
    return hash.finish();
  }

  protocol::ObjectInfo info;
  std::vector<std::vector<std::byte>> chunks;

 private:
  std::function<void(std::uint32_t)> came_;
  std::function<void()> done_;
};

// Real sockets around a script: what is said to each message. The script is complete when the first device is invited;
// from then on it belongs to the coordinator's threads.
class Coordinator {
 public:
  explicit Coordinator(const std::string& folder) : keys_(protocol::make_key_pair().value()) {
    protocol::zmq::BulkServerOptions bulk;
    bulk.endpoint = "tcp://127.0.0.1:*";
    bulk_ = protocol::zmq::make_bulk_server(bulk).value();
    make_model(folder + "/model.safetensors");
  }
  ~Coordinator() { stop(); }

  void start() {
    protocol::zmq::ControlServerOptions control;
    control.endpoint = endpoint_.empty() ? "tcp://127.0.0.1:*" : endpoint_;
    control.keys = keys_;
    control.admission = [this](const protocol::PublicKey& key) -> std::optional<protocol::PeerClass> {
      const std::lock_guard lock(mutex_);
      if (key == invitation_key_.public_key) return protocol::PeerClass::kInvitation;
      if (key == device_key_) return protocol::PeerClass::kDevice;
      return std::nullopt;
    };
    std::unique_ptr<protocol::ControlServer> server = protocol::zmq::make_control_server(control).value();
    endpoint_ = server->endpoint();
    stopping_ = false;
    replace_control(std::move(server));
    thread_ = std::thread([this] {
      while (!stopping_) {
        for (const AssignmentId id : take_complete()) acknowledge(id);
        for (const protocol::Incoming& in : control_->poll(1s)) on(in);
      }
    });
  }
  void stop() {
    if (!thread_.joinable()) return;
    stopping_ = true;
    control_->wake();
    thread_.join();
    replace_control(nullptr);
  }

  protocol::Invitation invite() {
    invitation_key_ = protocol::make_key_pair().value();
    start();
    protocol::Invitation invitation;
    invitation.coordinator = "test fleet";
    invitation.endpoint = endpoint_;
    invitation.server_key = keys_.public_key;
    invitation.key = invitation_key_;
    invitation.expires = 4'000'000'000;
    return invitation;
  }

  // What it holds and how often things happened. Read when the daemon is done.
  std::vector<float> model;
  Digest digest;
  std::uint64_t model_bytes = 0;
  std::shared_ptr<Object> sealed_model;
  std::map<AssignmentId, std::shared_ptr<Object>> uploads;
  std::map<AssignmentId, protocol::UpdateFacts> facts;
  std::map<AssignmentId, protocol::EvaluationFacts> evaluations;
  std::atomic<int> hellos{0}, receipts{0}, fetches{0}, goodbyes{0};
  std::atomic<std::uint32_t> resumed_at{0};   // chunks that were held when the update was last offered
  std::atomic<std::uint64_t> last_unsent{0};  // as the last Hello said
  protocol::BulkCounters bulk_counters() const { return bulk_->counters(); }
  std::string bulk_endpoint() const { return bulk_->endpoint(); }

  // The script: tasks are assigned one after the other; after the last one's receipt, and when an upload's chunk comes:
  std::vector<protocol::TaskKind> tasks;
  std::function<void()> on_all_done = [] {};
  std::function<void(std::uint32_t chunk)> on_chunk = [](std::uint32_t) {};
  std::atomic<bool> give_receipts{true};
  std::string bulk_through;  // a relay that tickets name; empty: none

 private:
  void make_model(const std::string& path) {
    const auto layout = TensorLayout::make({{"fc.weight", {10, 100000}, "head"}, {"fc.bias", {10}, "bias"}}).value();
    model.assign(layout.total(), 0.25f);
    ASSERT_TRUE(protocol::write_model(path, layout, model, {}).ok());
    std::vector<std::byte> bytes(fs::file_size(path));
    const File file = File::open_to_read(path).value();
    ASSERT_TRUE(file.read_at(0, bytes).ok());
    digest = protocol::sha256(bytes);
    model_bytes = bytes.size();
    sealed_model = std::make_shared<Object>(
        protocol::ObjectInfo{99, bytes.size(), protocol::preferred_suite(), protocol::make_object_key().value()},
        bytes);
  }

  // Returns the old one, to be destroyed without the lock: its handshake thread may wait for it.
  std::unique_ptr<protocol::ControlServer> replace_control(std::unique_ptr<protocol::ControlServer> control) {
    const std::lock_guard lock(mutex_);
    return std::exchange(control_, std::move(control));
  }

  void say(const protocol::Peer& peer, const protocol::CoordinatorMessage& m) {
    control_->send(peer, protocol::encode(m));
  }

  void on(const protocol::Incoming& in) {
    auto m = protocol::decode_device(in.payload);
    ASSERT_TRUE(m.ok()) << m.error().to_string();
    std::visit([&](const auto& one) { hear(in.peer, one); }, *m);
  }
  void hear(const protocol::Peer& peer, const message::Redeem& m) {
    {
      const std::lock_guard lock(mutex_);
      device_key_ = m.device_key;
    }
    say(peer, message::Redeemed{DeviceId{1}, true});
  }
  void hear(const protocol::Peer& peer, const message::Hello& m) {
    ++hellos;
    last_unsent = m.unsent.value;
    peer_ = peer;
    say(peer, message::Welcome{protocol::kNewestProtocol, DeviceId{1}, 10s, 100ms});
    if (!m.unsent && !m.working) assign();
  }
  void assign() {
    if (receipts >= static_cast<int>(tasks.size())) return on_all_done();
    message::Assign a;
    a.assignment.id = AssignmentId{static_cast<std::uint64_t>(receipts) + 1};
    a.assignment.job = JobId{1};
    a.assignment.kind = tasks[static_cast<std::size_t>(receipts)];
    a.assignment.lease = 1h;
    a.assignment.seed = 5;
    a.assignment.bound = 1;
    a.assignment.max_samples = 1000;
    a.assignment.max_updates = 10;
    a.model = digest;
    a.model_bytes = model_bytes;
    say(peer_, a);
  }
  void hear(const protocol::Peer& peer, const message::FetchModel& m) {
    ++fetches;
    const protocol::Ticket ticket = bulk_->offer_download(sealed_model->info, sealed_model, 1min).value();
    say(peer, message::ModelTicket{m.assignment, relayed(ticket), sealed_model->info});
  }
  void hear(const protocol::Peer& peer, const message::OfferUpdate& m) {
    facts[m.assignment] = m.facts;
    auto& object = uploads[m.assignment];
    if (!object || !(object->info == m.object))
      object = std::make_shared<Object>(
          m.object, [this](std::uint32_t chunk) { on_chunk(chunk); }, [this, id = m.assignment] { received(id); });
    if (const auto old = tickets_.find(m.assignment); old != tickets_.end()) bulk_->withdraw(old->second);
    const auto held = static_cast<std::uint32_t>(object->chunks.size());
    resumed_at = held;
    if (held == m.object.chunks()) return received(m.assignment);
    const protocol::Ticket ticket = bulk_->offer_upload(m.object, held, object, 1min).value();
    tickets_[m.assignment] = ticket.user;
    say(peer, message::UploadTicket{m.assignment, relayed(ticket), held});
  }
  protocol::Ticket relayed(protocol::Ticket ticket) const {
    if (!bulk_through.empty()) ticket.endpoint = bulk_through;
    return ticket;
  }
  // On the bulk server's thread, or by a repeated offer.
  void received(AssignmentId id) {
    const std::lock_guard lock(mutex_);
    complete_.push_back(id);
    if (control_) control_->wake();
  }
  std::vector<AssignmentId> take_complete() {
    const std::lock_guard lock(mutex_);
    return std::exchange(complete_, {});
  }
  void hear(const protocol::Peer&, const message::EvaluationDone& m) {
    evaluations[m.assignment] = m.facts;
    acknowledge(m.assignment);
  }
  void hear(const protocol::Peer&, const message::TaskFailed& m) { ADD_FAILURE() << m.reason; }
  void hear(const protocol::Peer&, const message::Heartbeat&) {}
  void hear(const protocol::Peer&, const message::Goodbye&) { ++goodbyes; }
  void acknowledge(AssignmentId id) {
    if (!give_receipts) return on_all_done();
    receipts += acknowledged_.insert(id).second;
    say(peer_, message::Receipt{id});
    assign();
  }

  protocol::KeyPair keys_, invitation_key_;
  protocol::PublicKey device_key_{};
  std::unique_ptr<protocol::ControlServer> control_;
  std::string endpoint_;
  std::mutex mutex_;  // device_key_, complete_, and control_ where its own thread does not use it
  std::vector<AssignmentId> complete_;
  std::set<AssignmentId> acknowledged_;
  std::map<AssignmentId, std::string> tickets_;
  protocol::Peer peer_;  // of the last Hello
  std::atomic<bool> stopping_{false};
  std::thread thread_;
  std::unique_ptr<protocol::BulkServer> bulk_;  // last: its thread calls back
};

// A report shows that the client has seen the receipt before it.
const std::vector<protocol::TaskKind> kTrainThenEvaluate = {protocol::TaskKind::kTrain, protocol::TaskKind::kEvaluate};

class NoLogButErrors final : public Log {
 public:
  void write(LogLevel level, std::string_view line) override {
    if (level >= LogLevel::kError) errors.emplace_back(line);
  }
  std::vector<std::string> errors;
};

class DaemonTest : public ::testing::Test {
 protected:
  DaemonTest() {
    options_.data = "procedural:1:4:100";
    options_.part = 2;
    options_.trainer = TrainerKind::kSynthetic;
    options_.name = "board";
  }

  std::string state() const { return folder_.file("state"); }
  bool keeps_an_update() { return UpdateBox::open(state() + "/updates", log_).value().unsent().has_value(); }

  // One life of the client, until stop().
  Refusal live(Enrolment enrolment) {
    auto dial = [](const std::string& endpoint, const protocol::PublicKey& server_key, const protocol::KeyPair& keys) {
      protocol::zmq::ControlChannelOptions options;
      options.endpoint = endpoint;
      options.server_key = server_key;
      options.keys = keys;
      return protocol::zmq::make_control_channel(options);
    };
    auto daemon = Daemon::make({options_, std::move(enrolment), load_local_data(options_).value(), dial,
                                protocol::zmq::make_bulk_client(), &clock_, &log_, "test"});
    set_daemon(std::move(daemon).value());
    const Refusal refusal = daemon_->run();
    set_daemon(nullptr);
    return refusal;
  }
  // From whatever thread.
  void stop() {
    const std::lock_guard lock(daemon_mutex_);
    if (daemon_) daemon_->stop();
  }
  void set_daemon(std::unique_ptr<Daemon> daemon) {
    const std::lock_guard lock(daemon_mutex_);
    daemon_ = std::move(daemon);
  }
  Refusal join() { return live(Enrolment::join(state(), coordinator_.invite()).value()); }
  Refusal start() { return live(Enrolment::open(state()).value()); }

  std::vector<float> expected_delta(AssignmentId) {
    const auto layout = TensorLayout::make({{"fc.weight", {10, 100000}, "head"}, {"fc.bias", {10}, "bias"}}).value();
    const LocalData data = load_local_data(options_).value();
    std::vector<float> delta(layout.total());
    auto trained = training::make_synthetic_trainer(layout)->train(coordinator_.model, data.dataset, data.split.train,
                                                                   {}, 0, 5, delta, [] { return true; });
    EXPECT_TRUE(trained.ok());
    return delta;
  }
  void expect_upload(AssignmentId id) {
    ASSERT_TRUE(coordinator_.uploads.contains(id));
    const Object& object = *coordinator_.uploads.at(id);
    const protocol::UpdateFacts& facts = coordinator_.facts.at(id);
    EXPECT_EQ(facts.digest, object.tags());
    EXPECT_EQ(facts.samples, 80u);
    EXPECT_EQ(facts.steps, 8u);
    const std::vector<std::byte> plain = object.open();
    const std::vector<float> expected = expected_delta(id);
    ASSERT_EQ(plain.size(), expected.size() * sizeof(float));
    EXPECT_EQ(std::memcmp(plain.data(), expected.data(), plain.size()), 0);
  }

  shoal::testing::TemporaryFolder folder_;
  SteadyClock clock_;
  NoLogButErrors log_;
  ClientOptions options_;
  std::mutex daemon_mutex_;
  std::unique_ptr<Daemon> daemon_;  // while it lives
  Coordinator coordinator_{folder_.path()};
};

TEST_F(DaemonTest, EnrolsTrainsUploadsEvaluatesAndSaysGoodbye) {
  coordinator_.tasks = {protocol::TaskKind::kTrain, protocol::TaskKind::kTrain, protocol::TaskKind::kEvaluate};
  coordinator_.on_all_done = [&] { stop(); };
  EXPECT_EQ(join(), Refusal::kNone);
  coordinator_.stop();
  expect_upload(AssignmentId{1});
  expect_upload(AssignmentId{2});
  EXPECT_EQ(coordinator_.evaluations.at(AssignmentId{3}).samples, 20u);
  EXPECT_EQ(coordinator_.fetches, 1) << "the model is in the cache after that";
  EXPECT_FALSE(fs::exists(state() + "/invitation"));
  EXPECT_FALSE(keeps_an_update());
  EXPECT_TRUE(log_.errors.empty());
}

TEST_F(DaemonTest, MovesEverythingOnOneBulkConnection) {
  const auto relay = shoal::testing::Relay::start(coordinator_.bulk_endpoint()).value();
  coordinator_.bulk_through = relay->endpoint();
  coordinator_.tasks = {protocol::TaskKind::kTrain, protocol::TaskKind::kTrain, protocol::TaskKind::kEvaluate};
  coordinator_.on_all_done = [&] { stop(); };
  EXPECT_EQ(join(), Refusal::kNone);
  coordinator_.stop();
  expect_upload(AssignmentId{1});
  expect_upload(AssignmentId{2});
  EXPECT_EQ(relay->connections(), 1u);
}

TEST_F(DaemonTest, OffersItsUpdateAgainInItsNextLife) {
  coordinator_.tasks = kTrainThenEvaluate;
  coordinator_.give_receipts = false;
  coordinator_.on_all_done = [&] { stop(); };
  EXPECT_EQ(join(), Refusal::kNone);
  EXPECT_TRUE(keeps_an_update());
  coordinator_.give_receipts = true;
  EXPECT_EQ(start(), Refusal::kNone);
  coordinator_.stop();
  EXPECT_EQ(coordinator_.last_unsent, 1u);
  EXPECT_EQ(coordinator_.receipts, 2);
  EXPECT_FALSE(keeps_an_update());
  expect_upload(AssignmentId{1});
}

TEST_F(DaemonTest, ResumesAnUploadInItsNextLife) {
  coordinator_.tasks = kTrainThenEvaluate;
  std::promise<void> ended;
  std::atomic<bool> stopped{false};
  coordinator_.on_chunk = [&](std::uint32_t chunk) {
    if (chunk != 7 || stopped.exchange(true)) return;
    stop();
    ended.get_future().wait();  // nothing more is taken from it
  };
  coordinator_.on_all_done = [&] { stop(); };
  EXPECT_EQ(join(), Refusal::kNone);
  ended.set_value();
  ASSERT_EQ(coordinator_.receipts, 0) << "stopped half-way";
  EXPECT_EQ(start(), Refusal::kNone);
  coordinator_.stop();
  expect_upload(AssignmentId{1});
  const std::uint32_t chunks = coordinator_.uploads.at(AssignmentId{1})->info.chunks();
  EXPECT_GE(coordinator_.resumed_at, 8u);
  // What was on its way when the client died may have to be sent again, and nothing else.
  EXPECT_LE(coordinator_.bulk_counters().chunks_received, chunks + protocol::zmq::BulkClientOptions{}.window);
}

TEST_F(DaemonTest, ReconnectsToACoordinatorThatComesBack) {
  coordinator_.tasks = kTrainThenEvaluate;
  std::atomic<bool> restarted{false};
  std::promise<void> gone;
  std::thread restarter;
  coordinator_.on_chunk = [&](std::uint32_t) {
    if (restarted.exchange(true)) return;
    restarter = std::thread([&] {
      coordinator_.stop();
      gone.set_value();
      coordinator_.start();
    });
    gone.get_future().wait();  // before the upload, and with it all work, can end
  };
  coordinator_.on_all_done = [&] { stop(); };
  EXPECT_EQ(join(), Refusal::kNone);
  restarter.join();
  coordinator_.stop();
  EXPECT_EQ(coordinator_.hellos, 2);
  expect_upload(AssignmentId{1});
}

TEST_F(DaemonTest, EndsWhereItsKeyIsNotKnown) {
  {
    auto enrolment = Enrolment::join(state(), coordinator_.invite());
    ASSERT_TRUE(enrolment.ok());
    ASSERT_TRUE(enrolment->complete().ok());  // it was never redeemed
  }
  EXPECT_EQ(start(), Refusal::kUnknownKey);
  EXPECT_EQ(log_.errors.size(), 1u);
}

TEST_F(DaemonTest, StopsAtOnceWhileNobodyAnswers) {
  Enrolment enrolment = Enrolment::join(state(), coordinator_.invite()).value();
  coordinator_.stop();
  auto dial = [](const std::string&, const protocol::PublicKey&, const protocol::KeyPair&) {
    return Result<std::unique_ptr<protocol::ControlChannel>>(Error(ErrorCode::kUnavailable, "no route"));
  };
  auto daemon = Daemon::make({options_, std::move(enrolment), load_local_data(options_).value(), dial,
                              protocol::zmq::make_bulk_client(), &clock_, &log_, "test"});
  ASSERT_TRUE(daemon.ok());
  (*daemon)->stop();
  EXPECT_EQ((*daemon)->run(), Refusal::kNone);
}

}  // namespace
}  // namespace shoal::client
