// The block in front of a body in a segment file. The input is its beginning; the rest are zeros.
#include "coordinator/extent_header.h"

#include <algorithm>

#include "base/check.h"
#include "tests/fuzz/fuzz_target.h"

using namespace shoal::coordinator;

FUZZ_TARGET(extent_header) {
  Block block{};
  std::copy_n(input.begin(), std::min(input.size(), block.size()), block.begin());
  const auto period = header_period(block);
  const shoal::protocol::ObjectKey key{7};
  const ExtentPlace place{3, 4096};
  const auto record = open_header(block, key, place);
  if (!record) return;
  SHOAL_CHECK(period.has_value(), "a header opens and does not look like one");
  SHOAL_CHECK(!open_header(block, key, {3, 8192}), "a header opens in another place");
  static_cast<void>(extent_bytes(record->object));
}
