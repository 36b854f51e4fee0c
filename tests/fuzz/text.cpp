// A text of windows, with and without speakers.
#include "base/check.h"
#include "client/data/readers.h"
#include "tests/fuzz/fuzz_target.h"

using namespace shoal;
using namespace shoal::client::data;

FUZZ_TARGET(text) {
  ReadOptions options;
  options.memory_limit = Bytes{1 << 16};
  for (const std::uint32_t window : {1u, 5u}) {
    options.window = window;
    options.window_step = window;
    const auto text = bytes_in_memory({reinterpret_cast<const std::uint8_t*>(input.data()), input.size()}, "text");
    const auto data = read_text(*text, options);
    if (!data.ok()) continue;
    SHOAL_CHECK(check_dataset(*data, "text").ok(), "a reader delivers an inconsistent data set");
    SHOAL_CHECK(data->bytes_in_memory() <= options.memory_limit.count, "a reader exceeds its memory limit");
  }
}
