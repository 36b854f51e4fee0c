// A file of CIFAR-10 records.
#include "base/check.h"
#include "client/data/readers.h"
#include "tests/fuzz/fuzz_target.h"

using namespace shoal;
using namespace shoal::client::data;

FUZZ_TARGET(cifar) {
  constexpr Bytes kLimit{1 << 16};
  const auto records = bytes_in_memory({reinterpret_cast<const std::uint8_t*>(input.data()), input.size()}, "records");
  Dataset data;
  if (!read_cifar(*records, kLimit, data).ok()) return;
  SHOAL_CHECK(check_dataset(data, "cifar").ok(), "a reader delivers an inconsistent data set");
  SHOAL_CHECK(data.bytes.size() <= kLimit.count, "a reader exceeds its memory limit");
}
