#include "client/data/partition.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

namespace shoal::client::data {
namespace {

// `rows` examples of ten classes in turn, written by seven groups of unequal size.
Dataset sample(std::uint32_t rows) {
  Dataset data;
  data.shape = {1};
  data.classes = 10;
  data.bytes.resize(rows);
  for (std::uint32_t r = 0; r < rows; ++r) {
    data.labels.push_back(r % 10);
    data.groups.push_back(std::min(r % 13, 6u));
  }
  data.group_names = {"a", "b", "c", "d", "e", "f", "g"};
  return data;
}

std::vector<std::size_t> sizes(const Partition& parts) {
  std::vector<std::size_t> counts;
  for (const auto& part : parts) counts.push_back(part.size());
  return counts;
}

std::size_t classes_in(const Dataset& data, const std::vector<std::uint32_t>& rows) {
  std::set<std::uint32_t> seen;
  for (std::uint32_t row : rows) seen.insert(data.labels[row]);
  return seen.size();
}

class EveryKind : public testing::TestWithParam<PartitionKind> {};

TEST_P(EveryKind, deals_every_row_once_and_the_same_way_again) {
  for (std::uint32_t clients : {1u, 3u, 7u}) {
    for (std::uint32_t rows : {50u, 1003u}) {
      const Dataset data = sample(rows);
      PartitionOptions options{.kind = GetParam(), .clients = clients, .alpha = 0.1, .min_examples = 5};
      const Partition parts = partition_rows(data, options, 9).value();
      ASSERT_EQ(parts.size(), clients);
      std::vector<std::uint32_t> all;
      for (const auto& part : parts) {
        EXPECT_TRUE(std::ranges::is_sorted(part));
        all.insert(all.end(), part.begin(), part.end());
      }
      std::ranges::sort(all);
      std::vector<std::uint32_t> want(rows);
      std::iota(want.begin(), want.end(), 0u);
      EXPECT_EQ(all, want);
      EXPECT_EQ(parts, partition_rows(data, options, 9).value());
      if (GetParam() != PartitionKind::kNatural && clients > 1) {
        EXPECT_NE(parts, partition_rows(data, options, 10).value());
      }
    }
  }
}
INSTANTIATE_TEST_SUITE_P(Kinds, EveryKind,
                         testing::Values(PartitionKind::kIid, PartitionKind::kShards, PartitionKind::kDirichlet,
                                         PartitionKind::kQuantity, PartitionKind::kNatural),
                         [](const auto& tested) { return std::string(name_of(tested.param)); });

TEST(Partition, iid_sizes_differ_by_one_at_most) {
  const auto counts = sizes(partition_rows(sample(1003), {.kind = PartitionKind::kIid, .clients = 10}, 1).value());
  EXPECT_EQ(std::ranges::max(counts), 101u);
  EXPECT_EQ(std::ranges::min(counts), 100u);
}

TEST(Partition, two_shards_hold_few_classes) {
  const Dataset data = sample(6000);
  const Partition parts = partition_rows(data, {.kind = PartitionKind::kShards, .clients = 100}, 1).value();
  for (const auto& part : parts) {
    EXPECT_EQ(part.size(), 60u);
    EXPECT_LE(classes_in(data, part), 2u);  // 600 of a class, shards of 30: no shard straddles two classes
  }
}

TEST(Partition, a_small_alpha_skews_labels_and_a_large_one_does_not) {
  const Dataset data = sample(10000);
  const auto mean_classes = [&](double alpha) {
    PartitionOptions options{.kind = PartitionKind::kDirichlet, .clients = 50, .alpha = alpha, .min_examples = 0};
    const Partition parts = partition_rows(data, options, 4).value();
    double sum = 0;
    for (const auto& part : parts) sum += static_cast<double>(classes_in(data, part));
    return sum / 50;
  };
  EXPECT_LT(mean_classes(0.05), 4);
  EXPECT_GT(mean_classes(100), 9.9);
}

TEST(Partition, no_client_ends_up_below_the_minimum) {
  for (PartitionKind kind : {PartitionKind::kDirichlet, PartitionKind::kQuantity}) {
    PartitionOptions options{.kind = kind, .clients = 100, .alpha = 0.02, .min_examples = 10};
    EXPECT_EQ(std::ranges::min(sizes(partition_rows(sample(1000), options, 2).value())), 10u);  // all of them, exactly
    EXPECT_GE(std::ranges::min(sizes(partition_rows(sample(5000), options, 2).value())), 10u);
  }
}

TEST(Partition, quantity_skews_sizes) {
  PartitionOptions options{.kind = PartitionKind::kQuantity, .clients = 20, .alpha = 0.3, .min_examples = 1};
  const auto counts = sizes(partition_rows(sample(10000), options, 3).value());
  EXPECT_GT(std::ranges::max(counts), 1500u);
  EXPECT_LT(std::ranges::min(counts), 100u);
}

TEST(Partition, natural_clients_are_the_groups) {
  const Dataset data = sample(1300);
  const Partition parts = partition_rows(data, {.kind = PartitionKind::kNatural, .clients = 0}, 1).value();
  ASSERT_EQ(parts.size(), 7u);
  EXPECT_EQ(sizes(parts), (std::vector<std::size_t>{100, 100, 100, 100, 100, 100, 700}));
  for (std::size_t c = 0; c < parts.size(); ++c)
    for (std::uint32_t row : parts[c]) EXPECT_EQ(data.groups[row], c);
}

TEST(Partition, refuses_what_the_data_cannot_serve) {
  const auto refused = [](const Dataset& data, PartitionOptions options) {
    return !partition_rows(data, options, 1).ok();
  };
  Dataset anonymous = sample(100);
  anonymous.groups.clear();
  EXPECT_TRUE(refused(anonymous, {.kind = PartitionKind::kNatural, .clients = 0}));
  EXPECT_TRUE(refused(sample(100), {.kind = PartitionKind::kNatural, .clients = 8}));
  EXPECT_TRUE(refused(sample(100), {.kind = PartitionKind::kIid, .clients = 101}));
  EXPECT_TRUE(refused(sample(100), {.kind = PartitionKind::kIid, .clients = 0}));
  EXPECT_TRUE(refused(sample(100), {.kind = PartitionKind::kShards, .clients = 51}));
  EXPECT_TRUE(refused(sample(100), {.kind = PartitionKind::kDirichlet, .clients = 20, .min_examples = 6}));
}

TEST(SplitRows, sets_a_share_aside_and_keeps_one_on_each_side) {
  const std::vector<std::uint32_t> rows{5, 6, 7, 8, 9, 20, 21, 22, 23, 24};
  const RowSplit split = split_rows(rows, 0.3, 1, 4);
  EXPECT_EQ(split.test.size(), 3u);
  std::vector<std::uint32_t> all = split.train;
  all.insert(all.end(), split.test.begin(), split.test.end());
  EXPECT_TRUE(std::is_permutation(all.begin(), all.end(), rows.begin(), rows.end()));
  EXPECT_EQ(split.test, split_rows(rows, 0.3, 1, 4).test);
  EXPECT_NE(split.test, split_rows(rows, 0.3, 1, 5).test);

  EXPECT_EQ(split_rows(rows, 0, 1, 4).test.size(), 0u);
  EXPECT_EQ(split_rows(rows, 1, 1, 4).train.size(), 0u);
  EXPECT_EQ(split_rows(rows, 0.01, 1, 4).test.size(), 1u);
  EXPECT_EQ(split_rows(rows, 0.99, 1, 4).train.size(), 1u);
  EXPECT_EQ(split_rows(std::span(rows).first(1), 0.3, 1, 4).train.size(), 1u);
}

}  // namespace
}  // namespace shoal::client::data
