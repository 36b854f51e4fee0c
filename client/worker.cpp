#include "client/worker.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"
#include "client/training/engine/engine_trainer.h"
#include "client/training/model_description.h"
#include "compression/f32.h"
#include "protocol/update_layout.h"

namespace shoal::client {

using namespace std::chrono_literals;

using protocol::Refusal;

namespace {

// A transfer without a finished chunk for so long is given up, and resumed with a new ticket.
constexpr Duration kStall = 30s;
// Shorter pauses of the throttle are saved up.
constexpr Duration kShortestPause = 1ms;

event::WorkFailed refused(WorkId work, Refusal refusal, const std::string& detail) {
  return {work, std::string(text_of(refusal).sentence) + detail, refusal};
}

// What the coordinator would refuse is not worth sending.
std::optional<event::WorkFailed> judge(WorkId work, std::span<const float> delta, double bound) {
  compression::F32Check check(bound > 0 ? bound : std::numeric_limits<float>::max());
  check.add(std::as_bytes(delta));
  switch (check.verdict()) {
    case compression::ValueVerdict::kNotFinite: return refused(work, Refusal::kNotFinite, "");
    case compression::ValueVerdict::kOutOfBound:
      return refused(work, Refusal::kOutOfBound,
                     " (" + std::to_string(check.largest()) + " > " + std::to_string(bound) + ")");
    case compression::ValueVerdict::kFine: break;
  }
  return std::nullopt;
}

}  // namespace

Worker::Worker(WorkerParts parts, std::function<void(SessionEvent)> done)
    : parts_(std::move(parts)), done_(std::move(done)), thread_([this] { run(); }) {}

Worker::~Worker() { stop(); }

void Worker::submit(Work work) {
  const std::lock_guard lock(mutex_);
  queue_.push_back(std::move(work));
  changed_.notify_all();
}

void Worker::cancel(WorkId work) {
  const std::lock_guard lock(mutex_);
  cancelled_ = std::max(cancelled_.load(), work.value);
  changed_.notify_all();
}

void Worker::stop() {
  {
    const std::lock_guard lock(mutex_);
    cancelled_ = std::numeric_limits<std::uint64_t>::max();
    stopping_ = true;
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

void Worker::run() {
  std::unique_lock lock(mutex_);
  const auto wanted = [this] { return stopping_ || !queue_.empty(); };
  while (true) {
    if (!changed_.wait_for(lock, parts_.keep_connection, wanted)) {
      parts_.bulk->close_idle(parts_.keep_connection);
      changed_.wait(lock, wanted);
    }
    if (queue_.empty()) return;
    const Work work = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    std::visit(
        [this](const auto& w) {
          if constexpr (std::same_as<std::decay_t<decltype(w)>, action::DropUpdate>) {
            drop(w);
          } else if (!cancelled(w.work)) {
            auto answer = carry_out(w);
            done_(answer.ok() ? std::move(*answer)
                              : SessionEvent(event::WorkFailed{w.work, answer.error().to_string()}));
          }
        },
        work);
    lock.lock();
  }
}

Result<SessionEvent> Worker::carry_out(const action::FindModel& a) {
  SHOAL_TRY_ASSIGN(const auto path, parts_.cache.find(a.model));
  return path ? SessionEvent(event::ModelReady{a.work}) : SessionEvent(event::ModelMissing{a.work});
}

Result<SessionEvent> Worker::carry_out(const action::DownloadModel& a) {
  SHOAL_TRY_ASSIGN(ModelDownload download, parts_.cache.begin(a.model, a.object));
  Status moved = parts_.bulk->download(a.ticket, a.object, download.first_chunk(), download, kStall,
                                       [&] { return !cancelled(a.work); });
  if (!moved.ok()) return std::move(moved).error().because_of_this("the model's download broke off");
  SHOAL_TRY(parts_.cache.finish(a.model, std::move(download)));
  return SessionEvent(event::ModelReady{a.work});
}

Result<std::string> Worker::path_of(const Digest& digest) {
  SHOAL_TRY_ASSIGN(const auto path, parts_.cache.find(digest));
  if (!path) return Error(ErrorCode::kNotFound, "the model is not in the cache any more; raise cache_quota");
  return *path;
}

// Before anything is loaded.
Result<std::optional<event::WorkFailed>> Worker::over_budget(WorkId work, const std::string& model) {
  SHOAL_TRY_ASSIGN(const File file, File::open_to_read(model));
  SHOAL_TRY_ASSIGN(const std::uint64_t size, file.size());
  const std::uint64_t needed = 2 * size + parts_.data->bytes();
  if (parts_.memory_limit.count == 0 || needed <= parts_.memory_limit.count) return std::optional<event::WorkFailed>();
  return std::optional(refused(work, Refusal::kBudgetTooSmall,
                               ": model, update and data need " + human_bytes(needed) + ", memory_limit is " +
                                   human_bytes(parts_.memory_limit.count) +
                                   "; raise it, or give this device less data"));
}

// Keeps the trainer of the last work when the model is of the same make.
Status Worker::take_trainer(const protocol::ModelFile& model) {
  if (parts_.trainer == TrainerKind::kSynthetic) {
    if (!trainer_ || trainer_->layout() != model.layout) trainer_ = training::make_synthetic_trainer(model.layout);
    return {};
  }
  const auto text = model.metadata.find(std::string(training::kModelMetadataKey));
  if (text == model.metadata.end())
    return Error(ErrorCode::kInvalid, "the model file does not describe its architecture (no " +
                                          std::string(training::kModelMetadataKey) + " in its metadata)");
  if (trainer_ && trainer_model_ == text->second && trainer_->layout() == model.layout) return {};
  trainer_.reset();
  SHOAL_TRY_ASSIGN(const auto description, training::parse_description(text->second));
  SHOAL_TRY_ASSIGN(
      trainer_, parts_.trainer == TrainerKind::kEngine
                    ? training::engine::make_engine_trainer(description, {.budget = parts_.budget.count, .programs = 1})
                    : training::make_torch_trainer(description));
  trainer_model_ = text->second;
  if (trainer_->layout() != model.layout)
    return Error(ErrorCode::kInvalid, "the model's tensors are not those that its description makes");
  return {};
}

// Waits unless the work is cancelled; false when it is.
bool Worker::pause(WorkId work, Duration duration) {
  std::unique_lock lock(mutex_);
  return !changed_.wait_for(lock, duration, [&] { return cancelled(work); });
}

Result<SessionEvent> Worker::carry_out(const action::Train& a) {
  delta_.reset();
  const auto& rows = parts_.data->split.train;
  if (rows.empty())
    return Error(ErrorCode::kFailed,
                 "this device has no training examples; give it some with data, or lower test_fraction");
  SHOAL_TRY_ASSIGN(const std::string path, path_of(a.model));
  SHOAL_TRY_ASSIGN(const auto excess, over_budget(a.work, path));
  if (excess) return SessionEvent(*excess);
  SHOAL_TRY_ASSIGN(const protocol::ModelFile model, protocol::read_model(path));
  SHOAL_TRY(take_trainer(model));
  SHOAL_TRY_ASSIGN(const protocol::UpdateLayout update,
                   protocol::update_layout(a.assignment.training.plan, model.layout));
  Delta delta{a.assignment.id, std::make_unique_for_overwrite<float[]>(update.floats()), update.floats()};
  const Time begun = parts_.clock->now();
  Time step_begun = begun;
  Duration owed{};
  const auto after_step = [&] {
    parts_.bulk->close_idle(parts_.keep_connection);
    owed += from_seconds(to_seconds(parts_.clock->now() - step_begun) * (parts_.throttle - 1));
    const bool go_on =
        owed < kShortestPause ? !cancelled(a.work) : pause(a.work, std::exchange(owed, Duration::zero()));
    step_begun = parts_.clock->now();
    return go_on;
  };
  bool stepping = false;
  const auto before_step = [&] {
    if (std::exchange(stepping, true)) return after_step();
    model.let_go();  // the trainer has its own copy by now
    step_begun = parts_.clock->now();
    return !cancelled(a.work);
  };
  auto outcome = trainer_->train(model.values, parts_.data->dataset, rows, a.assignment.training, a.assignment.steps,
                                 a.assignment.seed, delta.values(), before_step);
  if (!outcome.ok() && outcome.error().code() == ErrorCode::kExhausted)
    return SessionEvent(refused(a.work, Refusal::kBudgetTooSmall, ": " + outcome.error().to_string()));
  if (!outcome.ok()) return std::move(outcome).error().because_of_this("training");
  if (!after_step()) return Error(ErrorCode::kTimeout, "training was given up after its last step");
  if (const auto bad = judge(a.work, delta.values(), a.assignment.bound)) return SessionEvent(*bad);
  delta_ = std::move(delta);
  protocol::UpdateFacts facts;
  facts.samples = rows.size();
  facts.steps = outcome->steps;
  facts.loss = outcome->loss;
  facts.trained = parts_.clock->now() - begun;
  return SessionEvent(event::TrainingFinished{a.work, facts});
}

Result<SessionEvent> Worker::carry_out(const action::Evaluate& a) {
  const auto& rows = parts_.data->split.test;
  if (rows.empty()) return Error(ErrorCode::kFailed, "this device keeps no test examples; raise test_fraction");
  SHOAL_TRY_ASSIGN(const std::string path, path_of(a.model));
  SHOAL_TRY_ASSIGN(const auto excess, over_budget(a.work, path));
  if (excess) return SessionEvent(*excess);
  SHOAL_TRY_ASSIGN(const protocol::ModelFile model, protocol::read_model(path));
  SHOAL_TRY(take_trainer(model));
  auto facts = trainer_->evaluate(model.values, parts_.data->dataset, rows);
  if (!facts.ok() && facts.error().code() == ErrorCode::kExhausted)
    return SessionEvent(refused(a.work, Refusal::kBudgetTooSmall, ": " + facts.error().to_string()));
  if (!facts.ok()) return std::move(facts).error().because_of_this("evaluation");
  return SessionEvent(event::EvaluationFinished{a.work, *facts});
}

Result<SessionEvent> Worker::carry_out(const action::Seal& a) {
  SHOAL_CHECK(delta_ && delta_->assignment == a.assignment, "sealing follows the training of the same assignment");
  const Delta delta = *std::exchange(delta_, std::nullopt);
  SHOAL_TRY_ASSIGN(const UnsentUpdate update, parts_.box.seal(a.assignment, a.facts, delta.values()));
  return SessionEvent(event::UpdateSealed{a.work, update.facts, update.object});
}

Result<SessionEvent> Worker::carry_out(const action::Upload& a) {
  SHOAL_TRY_ASSIGN(const auto source, parts_.box.source(AssignmentId{a.object.id}));
  Status moved =
      parts_.bulk->upload(a.ticket, a.object, a.first_chunk, *source, kStall, [&] { return !cancelled(a.work); });
  if (!moved.ok()) return std::move(moved).error().because_of_this("the upload broke off");
  return SessionEvent(event::UploadFinished{a.work});
}

void Worker::drop(const action::DropUpdate& a) {
  if (Status dropped = parts_.box.drop(a.assignment); !dropped.ok()) parts_.log->warn(dropped.error().to_string());
}

}  // namespace shoal::client
