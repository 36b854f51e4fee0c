#include "coordinator/fold_runner.h"

namespace shoal::coordinator {

FoldRunner::FoldRunner(const UpdateSource& updates, ModelStore& models, std::function<void()> wake)
    : updates_(updates), models_(models), wake_(std::move(wake)), thread_([this] { run(); }) {}

FoldRunner::~FoldRunner() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void FoldRunner::start(FoldOrder order) {
  {
    const std::lock_guard lock(mutex_);
    orders_.push_back(std::move(order));
  }
  changed_.notify_all();
}

std::vector<FoldDone> FoldRunner::finished() {
  const std::lock_guard lock(mutex_);
  return std::exchange(finished_, {});
}

bool FoldRunner::busy() const {
  const std::lock_guard lock(mutex_);
  return working_ || !orders_.empty() || !finished_.empty();
}

void FoldRunner::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return ending_ || !orders_.empty(); });
    if (ending_) return;
    FoldOrder order = std::move(orders_.front());
    orders_.pop_front();
    working_ = true;
    lock.unlock();
    Result<FoldResult> result = carry_out(order);
    lock.lock();
    working_ = false;
    finished_.push_back({std::move(order.fold), std::move(result)});
    wake_();
  }
}

Result<FoldResult> FoldRunner::carry_out(const FoldOrder& order) {
  SHOAL_TRY_ASSIGN(auto previous, models_.open(order.previous));
  const int arrays = aggregation::state_arrays(order.options.optimizer.name);
  SHOAL_TRY_ASSIGN(auto writer, models_.create(order.fold.job, order.fold.version, arrays));
  return fold_updates(order.fold, order.options, updates_, *previous, std::move(writer));
}

}  // namespace shoal::coordinator
