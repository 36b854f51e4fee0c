#include "client/training/batch_order.h"

#include <algorithm>

#include "base/check.h"

namespace shoal::client::training {

std::uint64_t steps_wanted(std::uint64_t rows, const protocol::TrainingSpec& spec, std::uint32_t steps) {
  return steps != 0 ? steps : spec.epochs * ((rows + spec.batch_size - 1) / spec.batch_size);
}

BatchOrder::BatchOrder(std::span<const std::uint32_t> rows, std::uint32_t batch_size, std::uint64_t seed)
    : rows_(rows.begin(), rows.end()), batch_size_(batch_size), used_(rows.size()), stream_(seed, "batches") {
  SHOAL_CHECK(!rows_.empty() && batch_size_ > 0, "BatchOrder needs rows and a batch size");
}

std::span<const std::uint32_t> BatchOrder::next() {
  if (used_ == rows_.size()) {
    stream_.shuffle(std::span(rows_));
    used_ = 0;
  }
  const std::span<const std::uint32_t> batch =
      std::span(rows_).subspan(used_, std::min(batch_size_, rows_.size() - used_));
  used_ += batch.size();
  return batch;
}

}  // namespace shoal::client::training
