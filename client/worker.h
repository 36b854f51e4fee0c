// The client's one worker thread: everything of the session's actions that takes long, in order, one at a time.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <variant>
#include <vector>

#include "base/time.h"
#include "client/local_data.h"
#include "client/model_cache.h"
#include "client/session.h"
#include "client/training/trainer.h"
#include "client/update_box.h"
#include "protocol/safetensors_file.h"

namespace shoal::client {

using Work = std::variant<action::FindModel, action::DownloadModel, action::Train, action::Evaluate, action::Seal,
                          action::Upload, action::DropUpdate>;

// What the thread owns or uses. `data`, `clock` and `log` outlive it.
struct WorkerParts {
  UpdateBox box;
  ModelCache cache;
  std::unique_ptr<protocol::BulkClient> bulk;
  const LocalData* data = nullptr;
  const Clock* clock = nullptr;
  TrainerKind trainer = TrainerKind::kTorch;
  double throttle = 1;    // every step takes so many times longer
  Bytes memory_limit{0};  // 0: none
  Bytes budget{0};        // of the engine's training; 0: none
  Log* log = nullptr;
  // How long the connection of a transfer is kept for the next one: a fleet must not hold the coordinator's descriptors
  // while it trains or waits.
  Duration keep_connection = std::chrono::seconds(10);
};

class Worker {
 public:
  // `done` is called on the worker's thread with every answer.
  Worker(WorkerParts parts, std::function<void(SessionEvent)> done);
  // As stop().
  ~Worker();

  void submit(Work work);
  // Ends this work and all before it at the next step or chunk. Sealing is not cut short: what it makes is dropped
  // later.
  void cancel(WorkId work);
  // Gives up what can be given up, carries out the drops that were asked for, and joins the thread.
  void stop();

 private:
  struct Delta {
    AssignmentId assignment;
    std::unique_ptr<float[]> memory;  // not touched before it is written: training needs the room
    std::size_t count = 0;
    std::span<float> values() const { return {memory.get(), count}; }
  };

  void run();
  bool cancelled(WorkId work) const { return work.value <= cancelled_.load(std::memory_order_relaxed); }

  // Each answers with the event that goes to the session.
  Result<SessionEvent> carry_out(const action::FindModel&);
  Result<SessionEvent> carry_out(const action::DownloadModel&);
  Result<SessionEvent> carry_out(const action::Train&);
  Result<SessionEvent> carry_out(const action::Evaluate&);
  Result<SessionEvent> carry_out(const action::Seal&);
  Result<SessionEvent> carry_out(const action::Upload&);
  void drop(const action::DropUpdate&);

  Result<std::string> path_of(const Digest& model);
  Result<std::optional<event::WorkFailed>> over_budget(WorkId work, const std::string& model);
  Status take_trainer(const protocol::ModelFile& model);
  bool pause(WorkId work, Duration duration);

  WorkerParts parts_;
  std::function<void(SessionEvent)> done_;

  // Used by the thread only.
  std::unique_ptr<training::Trainer> trainer_;
  std::string trainer_model_;   // the description that trainer_ was made from
  std::optional<Delta> delta_;  // between Train and Seal

  std::atomic<std::uint64_t> cancelled_{0};  // works up to this one
  std::mutex mutex_;
  std::condition_variable changed_;  // queue_, stopping_ or cancelled_
  std::deque<Work> queue_;
  bool stopping_ = false;
  std::thread thread_;  // last: starts when everything else is there
};

}  // namespace shoal::client
