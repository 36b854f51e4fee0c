// A pair of IDX files: two bytes say how long the first is, the images; the rest are the labels.
#include "base/check.h"
#include "client/data/readers.h"
#include "tests/fuzz/fuzz_target.h"

using namespace shoal;
using namespace shoal::client::data;

FUZZ_TARGET(idx) {
  constexpr Bytes kLimit{1 << 16};
  if (input.size() < 2) return;
  const std::span<const std::uint8_t> bytes(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
  const std::size_t cut = 2 + (std::size_t{bytes[0]} << 8 | bytes[1]) % (bytes.size() - 1);
  const auto images = bytes_in_memory(bytes.subspan(2, cut - 2), "images");
  const auto labels = bytes_in_memory(bytes.subspan(cut), "labels");
  const auto data = read_idx(*images, *labels, kLimit);
  if (!data.ok()) return;
  SHOAL_CHECK(check_dataset(*data, "idx").ok(), "a reader delivers an inconsistent data set");
  SHOAL_CHECK(data->bytes.size() + 4 * data->floats.size() <= kLimit.count, "a reader exceeds its memory limit");
}
