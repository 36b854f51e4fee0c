#include "coordinator/intake.h"

#include <algorithm>

#include "base/check.h"

namespace shoal::coordinator {

using protocol::Refusal;

class Intake::Upload final : public protocol::ChunkSink {
 public:
  Upload(Intake& intake, const Offer& offer)
      : intake_(intake), offer_(offer), cipher_(offer.object), check_(offer.bound), plain_(protocol::kChunkBytes) {}

  // Chunks that are held already: opened and judged again, since nothing about them is remembered.
  Status resume(std::uint32_t held) {
    std::vector<std::byte> sealed;
    for (std::uint32_t chunk = 0; chunk < held; ++chunk) {
      SHOAL_TRY(intake_.bodies_.read(offer_.assignment, chunk, sealed));
      SHOAL_TRY(judge(chunk, sealed));
    }
    return {};
  }

  Status write(std::uint32_t chunk, std::span<const std::byte> sealed) override {
    SHOAL_TRY(judge(chunk, sealed));
    Status stored = intake_.bodies_.write(offer_.assignment, chunk, sealed);
    if (!stored.ok()) {
      Error copy = stored.error();
      end(Refusal::kNone, std::move(copy));
    }
    return stored;
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
  // Opens the chunk, judges its values and adds its tag to the digest.
  Status judge(std::uint32_t chunk, std::span<const std::byte> sealed) {
    const std::size_t plain_bytes = sealed.size() - protocol::kTagBytes;
    const std::span<std::byte> plain(plain_.data(), plain_bytes);
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
  std::vector<std::byte> plain_;
  bool ended_ = false;
};

Intake::Intake(BodyStore& bodies, std::function<void()> wake)
    : bodies_(bodies), wake_(std::move(wake)), thread_([this] { run(); }) {}

Intake::~Intake() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

Result<std::shared_ptr<protocol::ChunkSink>> Intake::receive(const Offer& offer, std::uint32_t held) {
  auto upload = std::make_shared<Upload>(*this, offer);
  SHOAL_TRY(upload->resume(held));
  {
    const std::lock_guard lock(mutex_);
    to_prepare_.push_back(offer.assignment);
  }
  changed_.notify_all();
  return std::shared_ptr<protocol::ChunkSink>(std::move(upload));
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
    settling_.insert(result.offer.assignment);
    to_sync_.push_back(std::move(result));
  }
  changed_.notify_all();
}

void Intake::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return ending_ || !to_sync_.empty() || !to_prepare_.empty(); });
    if (ending_) return;
    std::deque<IntakeResult> batch = std::exchange(to_sync_, {});
    const std::deque<AssignmentId> begun = std::exchange(to_prepare_, {});
    lock.unlock();
    // What cannot be prepared (it may be gone again) is for sync() to tell.
    for (AssignmentId assignment : begun) static_cast<void>(bodies_.prepare(assignment).ok());
    for (IntakeResult& result : batch) {
      if (result.refusal != Refusal::kNone || result.error) continue;
      Status synced = bodies_.sync(result.offer.assignment);
      if (!synced.ok()) result.error = std::move(synced).error();
    }
    lock.lock();
    if (batch.empty()) continue;
    std::move(batch.begin(), batch.end(), std::back_inserter(results_));
    wake_();
  }
}

}  // namespace shoal::coordinator
