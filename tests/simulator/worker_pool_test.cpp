#include "simulator/worker_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <latch>

namespace shoal::simulator {
namespace {

using client::training::Trainer;

TrainerFactory synthetic() {
  return []() -> Result<std::unique_ptr<Trainer>> {
    return client::training::make_synthetic_trainer(TensorLayout::make({{"w", {3}, "head"}}).value());
  };
}

std::unique_ptr<WorkerPool> pool_of(unsigned workers, unsigned ahead) {
  return WorkerPool::make(workers, ahead, synthetic()).value();
}

WorkerPool::Task nothing() {
  return [](Trainer&, const std::function<bool()>&) {};
}

TEST(WorkerPool, ComputesWhatIsWantedSoonestFirst) {
  auto pool = pool_of(1, 100);
  std::latch hold(1), all(4);
  std::vector<int> order;
  pool->submit(1, Time{}, [&](Trainer&, const auto&) { hold.wait(); });
  for (int due : {5, 3, 9, 1})
    pool->submit(static_cast<std::uint64_t>(10 + due), Time(Duration(due)), [&, due](Trainer&, const auto&) {
      order.push_back(due);
      all.count_down();
    });
  hold.count_down();
  all.wait();
  EXPECT_THAT(order, ::testing::ElementsAre(1, 3, 5, 9));
}

TEST(WorkerPool, HoldsNoMoreResultsThanItMay) {
  std::atomic<int> started = 0;
  auto pool = pool_of(2, 3);
  for (std::uint64_t key = 1; key <= 20; ++key)
    pool->submit(key, Time(Duration(key)), [&](Trainer&, const auto&) { ++started; });
  for (std::uint64_t key = 1; key <= 20; ++key) {
    pool->wait(key);
    EXPECT_LE(started, static_cast<int>(key) + 3);
  }
  EXPECT_EQ(started, 20);
}

TEST(WorkerPool, AWantedTaskStartsEvenWhenTheRoomIsTaken) {
  auto pool = pool_of(2, 2);
  for (std::uint64_t key = 1; key <= 10; ++key) pool->submit(key, Time(Duration(key)), nothing());
  for (std::uint64_t key = 10; key >= 1; --key) pool->wait(key);  // against their order
}

TEST(WorkerPool, ForgottenTasksDoNotRunAndMakeRoom) {
  std::atomic<int> ran = 0;
  auto pool = pool_of(1, 1);
  std::latch hold(1), running(1);
  pool->submit(1, Time{}, [&](Trainer&, const auto&) {
    running.count_down();
    hold.wait();
  });
  running.wait();
  for (std::uint64_t key = 2; key <= 5; ++key)
    pool->submit(key, Time(Duration(key)), [&](Trainer&, const auto&) { ++ran; });
  for (std::uint64_t key = 1; key <= 4; ++key) pool->forget(key);  // the first is running
  pool->forget(77);
  hold.count_down();
  pool->wait(5);
  EXPECT_EQ(ran, 1);
}

TEST(WorkerPool, TellsRunningTasksToGiveUpWhenItIsDestroyed) {
  auto pool = pool_of(1, 1);
  std::latch running(1);
  pool->submit(1, Time{}, [&](Trainer&, const std::function<bool()>& go_on) {
    running.count_down();
    while (go_on()) std::this_thread::yield();
  });
  running.wait();
  pool.reset();  // returns
}

TEST(WorkerPool, ReportsATrainerThatCannotBeMade) {
  const auto pool = WorkerPool::make(
      2, 2, []() -> Result<std::unique_ptr<Trainer>> { return Error(ErrorCode::kUnavailable, "no plugin here"); });
  ASSERT_FALSE(pool.ok());
  EXPECT_EQ(pool.error().message(), "no plugin here");
}

}  // namespace
}  // namespace shoal::simulator
