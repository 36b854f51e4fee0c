// Who holds which examples: the ways in which experiments deal one data set out to many clients.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "base/options.h"
#include "base/result.h"
#include "client/data/dataset.h"

namespace shoal::client::data {

enum class PartitionKind : std::uint8_t { kIid, kShards, kDirichlet, kQuantity, kNatural };
inline EnumNames<PartitionKind> enum_names(PartitionKind) {
  static constexpr std::array<std::pair<PartitionKind, std::string_view>, 5> kNames{
      {{PartitionKind::kIid, "iid"},
       {PartitionKind::kShards, "shards"},
       {PartitionKind::kDirichlet, "dirichlet"},
       {PartitionKind::kQuantity, "quantity"},
       {PartitionKind::kNatural, "natural"}}};
  return kNames;
}

struct PartitionOptions {
  PartitionKind kind = PartitionKind::kIid;
  std::uint32_t clients = 100;          // natural: 0 makes one client of every group
  std::uint32_t shards_per_client = 2;  // shards
  double alpha = 0.3;                   // dirichlet, quantity: small is skewed
  std::uint32_t min_examples = 2;       // dirichlet, quantity: the least that a client ends up with

  template <class Visitor>
  void visit(Visitor& v) {
    v("kind", kind, any,
      "How examples are dealt out: iid, shards, dirichlet (label skew), quantity (size skew) or natural");
    v("clients", clients, between(0u, 10000000u),
      "Number of clients; for natural, 0 is one for every group in the data");
    v("shards_per_client", shards_per_client, between(1u, 100000u), "shards: label-sorted pieces that a client holds");
    v("alpha", alpha, between(1e-3, 1e6), "dirichlet, quantity: concentration; small is skewed");
    v("min_examples", min_examples, between(0u, 1000000u), "dirichlet, quantity: fewest examples of a client");
  }
};

// The rows of every client, ascending.
using Partition = std::vector<std::vector<std::uint32_t>>;

// Deals every row to exactly one client; a pure function of its arguments.
//   iid        a shuffle cut into pieces whose sizes differ by at most one
//   shards     rows sorted by label, cut into clients x shards_per_client pieces, dealt at random (McMahan et al. 2017)
//   dirichlet  each class is spread over the clients by proportions drawn from Dirichlet(alpha) (Hsu et al. 2019)
//   quantity   IID labels, sizes drawn from Dirichlet(alpha)
//   natural    group g goes to client g mod clients
// kInvalid when the data cannot serve so many clients or has no groups.
Result<Partition> partition_rows(const Dataset& dataset, const PartitionOptions& options, std::uint64_t seed);

struct RowSplit {
  std::vector<std::uint32_t> train, test;  // each ascending
};

// One client's own train/test split: round(test_fraction * rows) rows are set aside, but at least one stays on each
// side when there are two rows or more and 0 < test_fraction < 1. Drawn from Stream(seed, "split", client).
RowSplit split_rows(std::span<const std::uint32_t> rows, double test_fraction, std::uint64_t seed,
                    std::uint64_t client);

}  // namespace shoal::client::data
