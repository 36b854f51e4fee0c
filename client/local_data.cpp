#include "client/local_data.h"

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

namespace shoal::client {

namespace {

// Moves the rows (ascending) to the front and gives the rest of the memory back.
template <class T>
void keep(std::vector<T>& values, std::span<const std::uint32_t> rows, std::size_t size) {
  if (values.empty()) return;
  auto out = values.begin();
  for (std::uint32_t row : rows) {
    const auto from = values.begin() + static_cast<std::ptrdiff_t>(row * size);
    out = std::copy(from, from + static_cast<std::ptrdiff_t>(size), out);
  }
  values.erase(out, values.end());
  values.shrink_to_fit();
}

void keep_rows(data::Dataset& dataset, std::span<const std::uint32_t> rows) {
  const std::size_t size = dataset.example_size();
  keep(dataset.bytes, rows, size);
  keep(dataset.floats, rows, size);
  keep(dataset.labels, rows, 1);
  keep(dataset.groups, rows, 1);
}

}  // namespace

std::uint64_t LocalData::bytes() const {
  return dataset.bytes.size() + 4 * (dataset.floats.size() + dataset.labels.size() + dataset.groups.size()) +
         4 * (split.train.size() + split.test.size());
}

protocol::DeviceFacts LocalData::facts(Bytes budget) const {
  return {split.train.size(), split.test.size(), budget.count};
}

Result<LocalData> load_local_data(const ClientOptions& options) {
  if (options.data.empty())
    return Error(ErrorCode::kInvalid, "no data: set `data` to the folder or file with this device's examples");
  LocalData local;
  {
    auto dataset = data::read_dataset(options.data, "train");
    if (!dataset.ok()) return std::move(dataset).error().because_of_this("cannot read the local data");
    local.dataset = std::move(*dataset);
  }
  if (options.part >= 0) {
    auto parts = data::partition_rows(local.dataset, options.partition, options.split_seed);
    if (!parts.ok()) return std::move(parts).error().because_of_this("cannot partition " + options.data);
    if (static_cast<std::uint64_t>(options.part) >= parts->size())
      return Error(ErrorCode::kInvalid, "part = " + std::to_string(options.part) + " is beyond the " +
                                            std::to_string(parts->size()) + " parts of " + options.data);
    keep_rows(local.dataset, (*parts)[static_cast<std::size_t>(options.part)]);
  }
  if (local.dataset.rows() == 0) return Error(ErrorCode::kInvalid, options.data + " has no example for this device");
  std::vector<std::uint32_t> rows(local.dataset.rows());
  std::iota(rows.begin(), rows.end(), 0u);
  const std::uint64_t client = options.part < 0 ? 0 : static_cast<std::uint64_t>(options.part);
  local.split = data::split_rows(rows, options.test_fraction, options.split_seed, client);
  return local;
}

}  // namespace shoal::client
