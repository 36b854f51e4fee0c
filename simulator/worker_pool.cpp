#include "simulator/worker_pool.h"

#include <algorithm>

namespace shoal::simulator {

Result<std::unique_ptr<WorkerPool>> WorkerPool::make(unsigned workers, unsigned ahead, const TrainerFactory& factory) {
  SHOAL_CHECK(workers > 0, "a pool without workers");
  std::unique_ptr<WorkerPool> pool(new WorkerPool(std::max(ahead, workers)));
  for (unsigned i = 0; i < workers; ++i) pool->threads_.emplace_back([p = pool.get(), &factory] { p->work(factory); });
  std::unique_lock lock(pool->mutex_);
  pool->done_.wait(lock, [&] { return pool->started_ == workers; });
  if (pool->failure_) return *pool->failure_;
  lock.unlock();
  return pool;
}

WorkerPool::~WorkerPool() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  ready_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void WorkerPool::submit(std::uint64_t key, Time due, Task task) {
  {
    const std::lock_guard lock(mutex_);
    const bool fresh = entries_.emplace(key, Entry{due, std::move(task)}).second;
    SHOAL_CHECK(fresh, "a task was submitted twice");
    queue_.emplace(due, key);
  }
  ready_.notify_one();
}

void WorkerPool::wait(std::uint64_t key) {
  std::unique_lock lock(mutex_);
  const auto entry = entries_.find(key);
  SHOAL_CHECK(entry != entries_.end(), "nobody submitted the task that is waited for");
  if (entry->second.stage == Stage::kReady) {
    wanted_ = key;
    ready_.notify_one();
  }
  done_.wait(lock, [&] { return entry->second.stage == Stage::kDone; });
  wanted_.reset();
  entries_.erase(entry);
  --held_;
  lock.unlock();
  ready_.notify_one();
}

void WorkerPool::forget(std::uint64_t key) {
  const std::lock_guard lock(mutex_);
  const auto entry = entries_.find(key);
  if (entry == entries_.end()) return;
  switch (entry->second.stage) {
    case Stage::kReady:
      queue_.erase({entry->second.due, key});
      entries_.erase(entry);
      break;
    case Stage::kDone:
      entries_.erase(entry);
      --held_;
      ready_.notify_one();
      break;
    default: entry->second.stage = Stage::kForgotten;
  }
}

std::optional<std::uint64_t> WorkerPool::startable() const {
  if (queue_.empty()) return std::nullopt;
  if (wanted_ && entries_.at(*wanted_).stage == Stage::kReady) return wanted_;
  if (held_ >= ahead_) return std::nullopt;
  return queue_.begin()->second;
}

void WorkerPool::work(const TrainerFactory& factory) {
  auto made = factory();
  std::unique_lock lock(mutex_);
  ++started_;
  if (!made.ok() && !failure_) failure_ = made.error();
  done_.notify_all();
  if (!made.ok()) return;
  client::training::Trainer& trainer = **made;
  const std::function<bool()> go_on = [this] { return !stop_.load(std::memory_order_relaxed); };
  for (;;) {
    std::optional<std::uint64_t> key;
    ready_.wait(lock, [&] { return stop_ || (key = startable()); });
    if (stop_) return;
    const auto entry = entries_.find(*key);
    queue_.erase({entry->second.due, *key});
    entry->second.stage = Stage::kRunning;
    ++held_;
    const Task task = std::move(entry->second.task);
    lock.unlock();
    task(trainer, go_on);
    lock.lock();
    if (entry->second.stage == Stage::kForgotten) {
      entries_.erase(entry);
      --held_;
    } else {
      entry->second.stage = Stage::kDone;
      done_.notify_one();
    }
  }
}

}  // namespace shoal::simulator
