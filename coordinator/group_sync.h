// Group commit: callers that want a sync at the same time share one.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "base/result.h"

namespace shoal::coordinator {

class GroupSync {
 public:
  // Returns the status of a sync that began after the call did. `sync` runs on one caller's thread, one at a time;
  // whoever comes while it runs waits for it to end, and then for one more that serves everybody who waited.
  template <class Sync>
  Status run(Sync sync) {
    std::unique_lock lock(mutex_);
    const std::uint64_t mine = begun_ + 1;
    changed_.wait(lock, [&] { return ended_ >= mine || !running_; });
    // A later one that failed counts too: its callers and mine had bytes in the same file.
    if (ended_ >= mine) return last_failed_ >= mine ? failure_ : Status();
    running_ = true;
    ++begun_;
    lock.unlock();
    Status status = sync();
    lock.lock();
    running_ = false;
    ended_ = begun_;
    if (!status.ok()) {
      last_failed_ = ended_;
      failure_ = status;
    }
    changed_.notify_all();
    return status;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool running_ = false;
  std::uint64_t begun_ = 0, ended_ = 0;  // numbers of syncs
  std::uint64_t last_failed_ = 0;
  Status failure_;
};

}  // namespace shoal::coordinator
