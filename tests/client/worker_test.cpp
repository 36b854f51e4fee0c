// The worker's thread with a bulk client of a test's own: what it does with a connection that it does not need.
#include "client/worker.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <utility>

#include "base/steady_clock.h"
#include "protocol/durable_file.h"
#include "protocol/safetensors_file.h"
#include "protocol/sha256.h"
#include "tests/support/temporary_folder.h"

namespace shoal::client {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kFloats = 1000;

// Downloads one file, and counts how often an idle connection could be closed.
class FakeBulk final : public protocol::BulkClient {
 public:
  explicit FakeBulk(std::string content) : content_(std::move(content)) {}

  Status download(const protocol::Ticket&, const protocol::ObjectInfo& object, std::uint32_t, protocol::ChunkSink& sink,
                  Duration, const std::function<bool()>&) override {
    std::vector<std::byte> sealed(object.sealed_bytes(0));
    protocol::ChunkCipher(object).seal(0, std::as_bytes(std::span(content_)), sealed);
    SHOAL_TRY(sink.write(0, sealed));
    sink.complete();
    return {};
  }
  Status upload(const protocol::Ticket&, const protocol::ObjectInfo&, std::uint32_t, protocol::ChunkSource&, Duration,
                const std::function<bool()>&) override {
    return Error(ErrorCode::kUnavailable, "nothing is uploaded here");
  }
  void close_idle(Duration idle) override {
    EXPECT_EQ(idle, keep);
    if (closes++ == 0) first_close.set_value();
  }
  protocol::BulkCounters counters() const override { return {}; }

  Duration keep{};
  std::atomic<int> closes{0};
  std::promise<void> first_close;

 private:
  const std::string content_;
};

class WorkerTest : public ::testing::Test {
 protected:
  WorkerTest() {
    const auto layout = TensorLayout::make({{"w", {kFloats}, "backbone"}}).value();
    const std::string path = folder_.file("model.safetensors");
    EXPECT_TRUE(protocol::write_model(path, layout, std::vector<float>(kFloats, 0.25f), {}).ok());
    content_ = protocol::read_file(path, 1 << 20).value();
    data_.dataset.shape = {1};
    data_.dataset.classes = 2;
    data_.dataset.floats.assign(4, 0.5f);
    data_.dataset.labels.assign(4, 0);
    data_.split.train = {0, 1, 2, 3};
  }

  void start(Duration keep) {
    auto bulk = std::make_unique<FakeBulk>(content_);
    bulk_ = bulk.get();
    bulk_->keep = keep;
    worker_ =
        std::make_unique<Worker>(WorkerParts{.box = UpdateBox::open(folder_.file("updates"), log_).value(),
                                             .cache = ModelCache::open(folder_.file("models"), Bytes{1 << 20}).value(),
                                             .bulk = std::move(bulk),
                                             .data = &data_,
                                             .clock = &clock_,
                                             .trainer = TrainerKind::kSynthetic,
                                             .log = &log_,
                                             .keep_connection = keep},
                                 [this](SessionEvent event) { answers_.set_value(std::move(event)); });
  }
  // Its answer.
  SessionEvent carry_out(Work work) {
    answers_ = {};
    worker_->submit(std::move(work));
    return answers_.get_future().get();
  }

  shoal::testing::TemporaryFolder folder_;
  std::string content_;
  LocalData data_;
  SteadyClock clock_;
  NoLog log_;
  std::promise<SessionEvent> answers_;
  FakeBulk* bulk_ = nullptr;        // the worker's
  std::unique_ptr<Worker> worker_;  // last: its thread uses what is above
};

TEST_F(WorkerTest, ClosesAnIdleConnectionWhileItWaits) {
  start(20ms);
  ASSERT_EQ(bulk_->first_close.get_future().wait_for(30s), std::future_status::ready);
  EXPECT_TRUE(std::holds_alternative<event::ModelMissing>(carry_out(action::FindModel{WorkId{1}, {}})));
}

TEST_F(WorkerTest, ClosesAnIdleConnectionWhileItTrains) {
  start(1h);
  const Digest digest = protocol::sha256(std::as_bytes(std::span(content_)));
  const protocol::ObjectInfo object{7, content_.size(), protocol::preferred_suite(),
                                    protocol::make_object_key().value()};
  ASSERT_TRUE(
      std::holds_alternative<event::ModelReady>(carry_out(action::DownloadModel{WorkId{1}, digest, {}, object})));
  EXPECT_EQ(bulk_->closes, 0);
  protocol::Assignment assignment;
  assignment.id = AssignmentId{1};
  assignment.steps = 5;
  ASSERT_TRUE(std::holds_alternative<event::TrainingFinished>(carry_out(action::Train{WorkId{2}, assignment, digest})));
  EXPECT_EQ(bulk_->closes, 5) << "looked at between steps";
}

}  // namespace
}  // namespace shoal::client
