// What either end of a bulk transfer may say to the other.
#include "protocol/bulk_frame.h"

#include <algorithm>

#include "base/check.h"
#include "tests/fuzz/fuzz_target.h"

using namespace shoal::protocol;

FUZZ_TARGET(bulk_frame) {
  const auto frame = decode_bulk(input);
  if (!frame.ok()) return;
  SHOAL_CHECK(std::ranges::equal(encode(*frame), input), "two encodings stand for one frame");
}
