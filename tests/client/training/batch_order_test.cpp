#include "client/training/batch_order.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace shoal::client::training {
namespace {

const std::vector<std::uint32_t> kRows{4, 8, 15, 16, 23, 42, 99};

std::vector<std::uint32_t> epoch(BatchOrder& order, const std::vector<std::size_t>& sizes) {
  std::vector<std::uint32_t> rows;
  for (std::size_t size : sizes) {
    const auto batch = order.next();
    EXPECT_EQ(batch.size(), size);
    rows.insert(rows.end(), batch.begin(), batch.end());
  }
  return rows;
}

TEST(BatchOrder, visits_every_row_once_an_epoch_in_a_new_order) {
  BatchOrder order(kRows, 3, 1);
  const std::vector<std::uint32_t> first = epoch(order, {3, 3, 1});
  const std::vector<std::uint32_t> second = epoch(order, {3, 3, 1});
  EXPECT_TRUE(std::is_permutation(first.begin(), first.end(), kRows.begin(), kRows.end()));
  EXPECT_TRUE(std::is_permutation(second.begin(), second.end(), kRows.begin(), kRows.end()));
  EXPECT_NE(first, second);
}

TEST(BatchOrder, is_a_function_of_its_seed) {
  BatchOrder one(kRows, 7, 1), same(kRows, 7, 1), other(kRows, 7, 2);
  const auto first = epoch(one, {7});
  EXPECT_EQ(first, epoch(same, {7}));
  EXPECT_NE(first, epoch(other, {7}));
}

TEST(BatchOrder, gives_short_batches_when_there_are_few_rows) {
  BatchOrder order(std::vector<std::uint32_t>{6, 7}, 10, 1);
  EXPECT_EQ(order.next().size(), 2u);
  EXPECT_EQ(order.next().size(), 2u);
}

TEST(StepsWanted, counts_short_batches_unless_steps_are_set) {
  protocol::TrainingSpec spec;
  spec.epochs = 2;
  EXPECT_EQ(steps_wanted(25, spec, 0), 6u);
  EXPECT_EQ(steps_wanted(20, spec, 0), 4u);
  EXPECT_EQ(steps_wanted(25, spec, 17), 17u);
}

}  // namespace
}  // namespace shoal::client::training
