// Runs folds on a thread of its own, so that the owner thread goes on receiving while a model is made.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "base/result.h"
#include "coordinator/fold.h"

namespace shoal::coordinator {

struct FoldOrder {
  action::Fold fold;
  FoldOptions options;
  ModelRef previous;
};

struct FoldDone {
  action::Fold fold;
  Result<FoldResult> result;
};

// Orders are worked off one after the other; each uses options.workers threads. Ends its thread when destroyed, after
// the fold it is at.
class FoldRunner {
 public:
  // The stores outlive the runner. `wake` is called from the runner's thread after each fold.
  FoldRunner(const UpdateSource& updates, ModelStore& models, std::function<void()> wake);
  ~FoldRunner();

  void start(FoldOrder order);
  // Folds that ended since the last call.
  std::vector<FoldDone> finished();
  bool busy() const;

 private:
  void run();
  Result<FoldResult> carry_out(const FoldOrder& order);

  const UpdateSource& updates_;
  ModelStore& models_;
  std::function<void()> wake_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<FoldOrder> orders_;
  std::vector<FoldDone> finished_;
  bool working_ = false;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace shoal::coordinator
