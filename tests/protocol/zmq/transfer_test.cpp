// The room that transfers share: never more than there is, evenly, and nothing is lost.
#include "protocol/zmq/transfer.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/rng.h"

namespace shoal::protocol::zmq {
namespace {

Transfer transfer_of(std::uint32_t chunks) {
  Transfer transfer;
  transfer.chunks = chunks;
  return transfer;
}

TEST(ChunkBudget, OneTransferGetsItsWindowAndNoMore) {
  ChunkBudget budget(128, 8);
  Transfer transfer = transfer_of(100);
  budget.join();
  EXPECT_TRUE(budget.top_up(transfer));
  EXPECT_EQ(transfer.granted, 8u);
  EXPECT_FALSE(budget.top_up(transfer));
  budget.advance(transfer, 3);
  EXPECT_TRUE(budget.top_up(transfer));
  EXPECT_EQ(transfer.granted, 11u);
}

TEST(ChunkBudget, TheEndOfTheObjectEndsTheGrants) {
  ChunkBudget budget(128, 8);
  Transfer transfer = transfer_of(3);
  budget.join();
  budget.top_up(transfer);
  EXPECT_EQ(transfer.granted, 3u);
  budget.leave(transfer);
  EXPECT_EQ(budget.free(), 128u);
}

TEST(ChunkBudget, SharesShrinkAsOthersJoin) {
  ChunkBudget budget(8, 8);
  Transfer first = transfer_of(100), second = transfer_of(100);
  budget.join();
  budget.top_up(first);
  budget.join();
  EXPECT_FALSE(budget.top_up(second)) << "all room is on its way";
  for (std::uint32_t next = 1; next <= 4; ++next) {
    budget.advance(first, next);
    budget.top_up(first);
    budget.top_up(second);
  }
  EXPECT_EQ(first.granted - first.next, 4u);
  EXPECT_EQ(second.granted - second.next, 4u);
}

TEST(ChunkBudget, AnyOrderOfStepsKeepsWithinTheTotal) {
  constexpr std::uint32_t kTotal = 12;
  Stream random(7, "chunk-budget");
  ChunkBudget budget(kTotal, 5);
  std::vector<Transfer> active;
  for (int step = 0; step < 20'000; ++step) {
    const auto choice = random.below(10);
    if (active.empty() || (choice == 0 && active.size() < 30)) {
      active.push_back(transfer_of(static_cast<std::uint32_t>(1 + random.below(40))));
      budget.join();
    } else {
      Transfer& one = active[random.below(active.size())];
      if (choice == 1) {
        budget.leave(one);
        std::swap(one, active.back());
        active.pop_back();
      } else {
        budget.advance(one, one.next + static_cast<std::uint32_t>(random.below(one.granted - one.next + 1)));
        budget.top_up(one);
      }
    }
    std::uint32_t outstanding = 0;
    for (const Transfer& transfer : active) {
      EXPECT_LE(transfer.granted - transfer.next, 5u);
      EXPECT_LE(transfer.granted, transfer.chunks);
      outstanding += transfer.granted - transfer.next;
    }
    ASSERT_EQ(outstanding + budget.free(), kTotal);
  }
}

}  // namespace
}  // namespace shoal::protocol::zmq
