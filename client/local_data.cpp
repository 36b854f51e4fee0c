#include "client/local_data.h"

#include <numeric>
#include <utility>
#include <vector>

namespace shoal::client {

std::uint64_t LocalData::bytes() const {
  return dataset.bytes_in_memory() + 4 * (split.train.size() + split.test.size());
}

protocol::DeviceFacts LocalData::facts(Bytes budget) const {
  return {split.train.size(), split.test.size(), budget.count};
}

Result<LocalData> load_local_data(const ClientOptions& options) {
  if (options.data.empty())
    return Error(ErrorCode::kInvalid, "no data: set `data` to the folder or file with this device's examples");
  LocalData local;
  {
    data::ReadOptions read;
    read.window = options.window;
    read.window_step = options.window_step;
    auto dataset = data::read_dataset(options.data, "train", read);
    if (!dataset.ok()) return std::move(dataset).error().because_of_this("cannot read the local data");
    local.dataset = std::move(*dataset);
  }
  if (options.part >= 0) {
    auto parts = data::partition_rows(local.dataset, options.partition, options.split_seed);
    if (!parts.ok()) return std::move(parts).error().because_of_this("cannot partition " + options.data);
    if (static_cast<std::uint64_t>(options.part) >= parts->size())
      return Error(ErrorCode::kInvalid, "part = " + std::to_string(options.part) + " is beyond the " +
                                            std::to_string(parts->size()) + " parts of " + options.data);
    local.dataset.keep((*parts)[static_cast<std::size_t>(options.part)]);
  }
  if (local.dataset.rows() == 0) return Error(ErrorCode::kInvalid, options.data + " has no example for this device");
  std::vector<std::uint32_t> rows(local.dataset.rows());
  std::iota(rows.begin(), rows.end(), 0u);
  const std::uint64_t client = options.part < 0 ? 0 : static_cast<std::uint64_t>(options.part);
  local.split = data::split_rows(rows, options.test_fraction, options.split_seed, client);
  return local;
}

}  // namespace shoal::client
