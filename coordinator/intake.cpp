#include "coordinator/intake.h"

#include <algorithm>

#include "base/check.h"

namespace shoal::coordinator {

using protocol::Refusal;

// About 2 KB, apart from the store's own; it stays while the upload is broken off.
class Intake::Upload final : public protocol::ChunkSink {
 public:
  Upload(Intake& intake, const Offer& offer)
      : intake_(intake), offer_(offer), cipher_(offer.object), check_(offer.bound) {}

  // Chunks that an earlier run stored: opened and judged again, since nothing about them is remembered.
  Status resume(std::uint32_t held) {
    std::vector<std::byte> sealed, plain(protocol::kChunkBytes);
    for (std::uint32_t chunk = 0; chunk < held; ++chunk) {
      SHOAL_TRY(intake_.bodies_.read(offer_.assignment, chunk, sealed));
      SHOAL_TRY(judge(chunk, sealed, plain));
    }
    next_ = held;
    return {};
  }

  Status write(std::uint32_t chunk, std::span<const std::byte> sealed) override {
    SHOAL_TRY(judge(chunk, sealed, intake_.plain_));
    Status stored = intake_.bodies_.write(offer_.assignment, chunk, sealed);
    if (!stored.ok()) {
      Error copy = stored.error();
      end(Refusal::kNone, std::move(copy));
    } else {
      next_ = chunk + 1;
    }
    return stored;
  }

  std::uint32_t next() const { return next_; }
  bool is_for(const Offer& offer) const {
    return offer_.object == offer.object && offer_.facts.digest == offer.facts.digest;
  }

  void complete() override {
    if (ended_) return;
    if (tags_.finish() != offer_.facts.digest) return end(Refusal::kConflict, std::nullopt);
    switch (check_.verdict()) {
      case compression::ValueVerdict::kNotFinite: return end(Refusal::kNotFinite, std::nullopt);
      case compression::ValueVerdict::kOutOfBound: return end(Refusal::kOutOfBound, std::nullopt);
      case compression::ValueVerdict::kFine: break;
    }
    offer_.facts.norm = check_.norm();
    end(Refusal::kNone, std::nullopt);
  }

 private:
  // Opens the chunk into `room`, judges its values and adds its tag to the digest.
  Status judge(std::uint32_t chunk, std::span<const std::byte> sealed, std::span<std::byte> room) {
    const std::span<std::byte> plain = room.first(sealed.size() - protocol::kTagBytes);
    Status opened = cipher_.open(chunk, sealed, plain);
    if (!opened.ok()) {
      end(Refusal::kUnsealable, std::nullopt);
      return opened;
    }
    check_.add(plain);
    tags_.update(sealed.last(protocol::kTagBytes));
    return {};
  }

  void end(Refusal refusal, std::optional<Error> error) {
    if (std::exchange(ended_, true)) return;
    intake_.finish({offer_, refusal, std::move(error)});
  }

  Intake& intake_;
  Offer offer_;
  protocol::ChunkCipher cipher_;
  compression::F32Check check_;
  protocol::Sha256 tags_;
  std::uint32_t next_ = 0;  // chunks before it are judged and stored
  bool ended_ = false;
};

Intake::Intake(BodyStore& bodies, std::function<void()> wake)
    : bodies_(bodies), wake_(std::move(wake)), plain_(protocol::kChunkBytes), thread_([this] { run(); }) {}

Intake::~Intake() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

Result<std::optional<Opening>> Intake::receive(const Offer& offer) {
  const AssignmentId id = offer.assignment;
  {
    const std::lock_guard lock(mutex_);
    SHOAL_CHECK(!settling_.contains(id), "an upload is begun while an earlier try of it is settled");
    const auto begun = uploads_.find(id);
    if (begun != uploads_.end() && begun->second->is_for(offer))
      return std::optional(Opening{begun->second->next(), begun->second});
    if (begun != uploads_.end()) uploads_.erase(begun);
    if (bodies_.info(id).ok()) {
      settling_.insert(id);
      to_resume_.push_back(offer);
      changed_.notify_all();
      return std::optional<Opening>();
    }
  }
  SHOAL_TRY_ASSIGN(const std::uint32_t held, bodies_.open(id, offer.object));
  SHOAL_CHECK(held == 0, "a body was there that the store did not know of");
  auto upload = std::make_shared<Upload>(*this, offer);
  {
    const std::lock_guard lock(mutex_);
    uploads_[id] = upload;
    to_prepare_.push_back(id);
  }
  changed_.notify_all();
  return std::optional(Opening{0, std::move(upload)});
}

Result<Opening> Intake::resume(const Offer& offer) {
  auto held = bodies_.open(offer.assignment, offer.object);
  if (!held.ok() && held.error().code() == ErrorCode::kInvalid) {
    // Complete, but with other content, and without a receipt, or nothing more would be offered: a crash came between
    // its sync and the journal, and the device has made it anew.
    SHOAL_TRY(bodies_.release({{offer.assignment}}));
    held = bodies_.open(offer.assignment, offer.object);
  }
  if (!held.ok()) return std::move(held).error();
  auto upload = std::make_shared<Upload>(*this, offer);
  {
    const std::lock_guard lock(mutex_);
    uploads_[offer.assignment] = upload;
  }
  SHOAL_TRY(upload->resume(*held));
  return Opening{*held, std::move(upload)};
}

void Intake::forget(AssignmentId assignment) {
  const std::lock_guard lock(mutex_);
  uploads_.erase(assignment);
}

std::vector<Intake::Resumed> Intake::resumed() {
  const std::lock_guard lock(mutex_);
  for (const Resumed& resumed : resumed_) settling_.erase(resumed.offer.assignment);
  return std::exchange(resumed_, {});
}

bool Intake::settling(AssignmentId assignment) const {
  const std::lock_guard lock(mutex_);
  return settling_.contains(assignment);
}

std::vector<IntakeResult> Intake::results() {
  const std::lock_guard lock(mutex_);
  for (const IntakeResult& result : results_) settling_.erase(result.offer.assignment);
  return std::exchange(results_, {});
}

void Intake::finish(IntakeResult result) {
  {
    const std::lock_guard lock(mutex_);
    uploads_.erase(result.offer.assignment);
    settling_.insert(result.offer.assignment);
    to_sync_.push_back(std::move(result));
    changed_.notify_all();  // while this object is sure to be there: the result may be all that its owner waits for
  }
}

void Intake::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return ending_ || !to_sync_.empty() || !to_prepare_.empty() || !to_resume_.empty(); });
    if (ending_) return;
    std::deque<IntakeResult> batch = std::exchange(to_sync_, {});
    const std::deque<AssignmentId> begun = std::exchange(to_prepare_, {});
    std::optional<Offer> broken_off;
    if (!to_resume_.empty()) {
      broken_off = std::move(to_resume_.front());
      to_resume_.pop_front();
    }
    lock.unlock();
    // What cannot be prepared (it may be gone again) is for sync() to tell.
    for (AssignmentId assignment : begun) static_cast<void>(bodies_.prepare(assignment).ok());
    for (IntakeResult& result : batch) {
      if (result.refusal != Refusal::kNone || result.error) continue;
      Status synced = bodies_.sync(result.offer.assignment);
      if (!synced.ok()) result.error = std::move(synced).error();
    }
    std::optional<Resumed> resumed;
    if (broken_off) resumed = Resumed{*broken_off, resume(*broken_off)};
    lock.lock();
    std::move(batch.begin(), batch.end(), std::back_inserter(results_));
    if (resumed) resumed_.push_back(std::move(*resumed));
    if (resumed || !batch.empty()) wake_();
  }
}

}  // namespace shoal::coordinator
