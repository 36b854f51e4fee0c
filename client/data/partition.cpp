#include "client/data/partition.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"
#include "base/rng.h"

namespace shoal::client::data {
namespace {

std::vector<std::uint32_t> all_rows(const Dataset& dataset) {
  std::vector<std::uint32_t> rows(dataset.rows());
  std::iota(rows.begin(), rows.end(), 0u);
  return rows;
}

// Where piece i of `pieces` nearly equal ones begins.
std::size_t cut(std::size_t total, std::size_t pieces, std::size_t i) {
  return total / pieces * i + std::min(i, total % pieces);
}

// Whole numbers that follow `proportions` and add up to `total` exactly (cumulative rounding).
std::vector<std::size_t> apportion(std::size_t total, const std::vector<double>& proportions) {
  std::vector<std::size_t> counts(proportions.size());
  double sum = 0;
  std::size_t given = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    sum += proportions[i];
    const std::size_t upto =
        i + 1 == counts.size()
            ? total
            : std::min(total, static_cast<std::size_t>(std::llround(sum * static_cast<double>(total))));
    counts[i] = upto - std::min(upto, given);
    given = std::max(given, upto);
  }
  return counts;
}

Partition iid(const Dataset& dataset, const PartitionOptions& options, Stream& stream) {
  std::vector<std::uint32_t> rows = all_rows(dataset);
  stream.shuffle(std::span(rows));
  Partition parts(options.clients);
  for (std::size_t c = 0; c < parts.size(); ++c)
    parts[c].assign(rows.begin() + cut(rows.size(), parts.size(), c),
                    rows.begin() + cut(rows.size(), parts.size(), c + 1));
  return parts;
}

Partition shards(const Dataset& dataset, const PartitionOptions& options, Stream& stream) {
  std::vector<std::uint32_t> rows = all_rows(dataset);
  stream.shuffle(std::span(rows));  // which examples of a class share a shard is chance
  std::stable_sort(rows.begin(), rows.end(),
                   [&](std::uint32_t a, std::uint32_t b) { return dataset.labels[a] < dataset.labels[b]; });
  std::vector<std::size_t> order(std::size_t{options.clients} * options.shards_per_client);
  std::iota(order.begin(), order.end(), std::size_t{0});
  stream.shuffle(std::span(order));
  Partition parts(options.clients);
  for (std::size_t i = 0; i < order.size(); ++i) {
    std::vector<std::uint32_t>& part = parts[i / options.shards_per_client];
    part.insert(part.end(), rows.begin() + cut(rows.size(), order.size(), order[i]),
                rows.begin() + cut(rows.size(), order.size(), order[i] + 1));
  }
  return parts;
}

Partition dirichlet(const Dataset& dataset, const PartitionOptions& options, Stream& stream) {
  std::vector<std::vector<std::uint32_t>> by_class(dataset.classes);
  for (std::uint32_t row = 0; row < dataset.rows(); ++row) by_class[dataset.labels[row]].push_back(row);
  Partition parts(options.clients);
  for (std::vector<std::uint32_t>& rows : by_class) {
    stream.shuffle(std::span(rows));
    const std::vector<std::size_t> counts = apportion(rows.size(), stream.dirichlet(parts.size(), options.alpha));
    auto next = rows.begin();
    for (std::size_t c = 0; c < parts.size(); ++c) {
      parts[c].insert(parts[c].end(), next, next + counts[c]);
      next += counts[c];
    }
  }
  return parts;
}

Partition quantity(const Dataset& dataset, const PartitionOptions& options, Stream& stream) {
  std::vector<std::uint32_t> rows = all_rows(dataset);
  stream.shuffle(std::span(rows));
  const std::vector<std::size_t> counts = apportion(rows.size(), stream.dirichlet(options.clients, options.alpha));
  Partition parts(options.clients);
  auto next = rows.begin();
  for (std::size_t c = 0; c < parts.size(); ++c) {
    parts[c].assign(next, next + counts[c]);
    next += counts[c];
  }
  return parts;
}

Partition natural(const Dataset& dataset, const PartitionOptions& options) {
  Partition parts(options.clients == 0 ? dataset.group_names.size() : options.clients);
  for (std::uint32_t row = 0; row < dataset.rows(); ++row) parts[dataset.groups[row] % parts.size()].push_back(row);
  return parts;
}

// Clients below the minimum take examples, drawn at random, from whoever holds the most.
void top_up(Partition& parts, std::size_t minimum, Stream& stream) {
  std::vector<std::pair<std::size_t, std::size_t>> heap;  // (rows, client), the largest on top
  for (std::size_t c = 0; c < parts.size(); ++c) heap.emplace_back(parts[c].size(), c);
  std::make_heap(heap.begin(), heap.end());
  for (std::vector<std::uint32_t>& poor : parts) {
    while (poor.size() < minimum) {
      std::pop_heap(heap.begin(), heap.end());
      std::vector<std::uint32_t>& rich = parts[heap.back().second];
      std::swap(rich[stream.below(rich.size())], rich.back());
      poor.push_back(rich.back());
      rich.pop_back();
      heap.back().first = rich.size();
      std::push_heap(heap.begin(), heap.end());
    }
  }
}

Status check_options(const Dataset& dataset, const PartitionOptions& options) {
  const auto bad = [&](std::string why) {
    return Error(ErrorCode::kInvalid, "partition '" + std::string(name_of(options.kind)) + "': " + std::move(why));
  };
  if (options.kind == PartitionKind::kNatural) {
    if (dataset.groups.empty())
      return bad("the data do not say whose they are; name a client column or choose another kind");
    if (options.clients > dataset.group_names.size())
      return bad(std::to_string(options.clients) + " clients, but the data come from " +
                 std::to_string(dataset.group_names.size()) + "; lower clients, or set 0 for all of them");
    return {};
  }
  if (options.clients == 0) return bad("clients must be at least 1");
  const bool skewed = options.kind == PartitionKind::kDirichlet || options.kind == PartitionKind::kQuantity;
  if (skewed && !(options.alpha > 0)) return bad("alpha must be above 0");
  std::uint64_t each = skewed ? options.min_examples : 1;
  if (options.kind == PartitionKind::kShards) each = options.shards_per_client;
  if (each == 0 && !skewed) return bad("shards_per_client must be at least 1");
  if (std::uint64_t{options.clients} * each > dataset.rows())
    return bad(std::to_string(options.clients) + " clients need at least " + std::to_string(options.clients * each) +
               " examples, the data have " + std::to_string(dataset.rows()));
  return {};
}

}  // namespace

Result<Partition> partition_rows(const Dataset& dataset, const PartitionOptions& options, std::uint64_t seed) {
  SHOAL_TRY(check_options(dataset, options));
  Stream stream(seed, "partition");
  Partition parts;
  switch (options.kind) {
    case PartitionKind::kIid: parts = iid(dataset, options, stream); break;
    case PartitionKind::kShards: parts = shards(dataset, options, stream); break;
    case PartitionKind::kDirichlet: parts = dirichlet(dataset, options, stream); break;
    case PartitionKind::kQuantity: parts = quantity(dataset, options, stream); break;
    case PartitionKind::kNatural: parts = natural(dataset, options); break;
  }
  if (options.kind == PartitionKind::kDirichlet || options.kind == PartitionKind::kQuantity)
    top_up(parts, options.min_examples, stream);
  for (std::vector<std::uint32_t>& part : parts) std::sort(part.begin(), part.end());
  return parts;
}

RowSplit split_rows(std::span<const std::uint32_t> rows, double test_fraction, std::uint64_t seed,
                    std::uint64_t client) {
  SHOAL_CHECK(test_fraction >= 0 && test_fraction <= 1, "a test fraction lies between 0 and 1");
  std::vector<std::uint32_t> order(rows.begin(), rows.end());
  Stream(seed, "split", client).shuffle(std::span(order));
  std::size_t test = static_cast<std::size_t>(std::llround(test_fraction * static_cast<double>(order.size())));
  if (test_fraction > 0 && test_fraction < 1 && order.size() >= 2)
    test = std::clamp<std::size_t>(test, 1, order.size() - 1);
  RowSplit split{.train = {order.begin() + test, order.end()}, .test = {order.begin(), order.begin() + test}};
  std::sort(split.train.begin(), split.train.end());
  std::sort(split.test.begin(), split.test.end());
  return split;
}

}  // namespace shoal::client::data
