// Threads that train: tasks are computed ahead, those that are wanted soonest first, and never more than a few ahead.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "client/training/trainer.h"

namespace shoal::simulator {

using TrainerFactory = std::function<Result<std::unique_ptr<client::training::Trainer>>()>;

// Each worker owns one trainer, made on its own thread. submit(), wait() and forget() are for one owner thread.
class WorkerPool {
 public:
  // `go_on` turns false when the pool is being destroyed: the task should give up then.
  using Task = std::function<void(client::training::Trainer& trainer, const std::function<bool()>& go_on)>;

  // `ahead` bounds the tasks that are running or done and not yet waited for; at least `workers`.
  static Result<std::unique_ptr<WorkerPool>> make(unsigned workers, unsigned ahead, const TrainerFactory& factory);
  ~WorkerPool();

  // `key` is new. Of the tasks that wait, the one with the smallest (due, key) starts first.
  void submit(std::uint64_t key, Time due, Task task);
  // Blocks until the task is done; the key is free again afterwards. The task was submitted and not forgotten.
  void wait(std::uint64_t key);
  // Drops a task that has not started; the result of a running one is ignored. Unknown keys are fine.
  void forget(std::uint64_t key);

 private:
  enum class Stage { kReady, kRunning, kDone, kForgotten };
  struct Entry {
    Time due{};
    Task task;
    Stage stage = Stage::kReady;
  };

  explicit WorkerPool(unsigned ahead) : ahead_(ahead) {}
  void work(const TrainerFactory& factory);
  std::optional<std::uint64_t> startable() const;  // under the lock

  const unsigned ahead_;
  std::mutex mutex_;
  std::condition_variable ready_, done_;
  std::map<std::uint64_t, Entry> entries_;
  std::set<std::pair<Time, std::uint64_t>> queue_;  // of the ready ones
  unsigned held_ = 0;                               // running or done
  std::optional<std::uint64_t> wanted_;             // somebody waits for it: it starts whatever `ahead` says
  std::atomic<bool> stop_{false};
  unsigned started_ = 0;
  std::optional<Error> failure_;  // of a factory
  std::vector<std::thread> threads_;
};

}  // namespace shoal::simulator
