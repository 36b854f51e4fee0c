// This device's own examples: read, reduced to its part, and split for training and testing.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "client/data/dataset.h"
#include "client/data/partition.h"
#include "client/options.h"
#include "protocol/facts.h"

namespace shoal::client {

struct LocalData {
  data::Dataset dataset;  // holds this device's rows only
  data::RowSplit split;

  std::uint64_t bytes() const;
  protocol::DeviceFacts facts(Bytes budget) const;
};

// kInvalid when `data` is empty or `part` is beyond the partition; otherwise the reader's errors.
Result<LocalData> load_local_data(const ClientOptions& options);

}  // namespace shoal::client
