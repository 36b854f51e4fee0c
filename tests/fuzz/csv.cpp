// A CSV file of examples, with and without a column of natural clients.
#include "base/check.h"
#include "client/data/readers.h"
#include "tests/fuzz/fuzz_target.h"

using namespace shoal;
using namespace shoal::client::data;

FUZZ_TARGET(csv) {
  ReadOptions options;
  options.memory_limit = Bytes{1 << 16};
  for (const char* column : {"", "client"}) {
    options.client_column = column;
    const auto text = bytes_in_memory({reinterpret_cast<const std::uint8_t*>(input.data()), input.size()}, "csv");
    const auto data = read_csv(*text, options);
    if (!data.ok()) continue;
    SHOAL_CHECK(check_dataset(*data, "csv").ok(), "a reader delivers an inconsistent data set");
    SHOAL_CHECK(4 * data->floats.size() <= options.memory_limit.count, "a reader exceeds its memory limit");
  }
}
