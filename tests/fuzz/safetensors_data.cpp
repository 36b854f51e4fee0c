// A safetensors file of examples: header, `x`, `y` and perhaps `groups`. The input is the file.
#include <fstream>
#include <iterator>

#include "base/check.h"
#include "client/data/readers.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/support/temporary_folder.h"

using namespace shoal;
using namespace shoal::client::data;

FUZZ_TARGET(safetensors_data) {
  static const testing::TemporaryFolder folder;
  static const std::string path = folder.file("data.safetensors");
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(input.data()), std::ssize(input));
  ReadOptions options;
  options.memory_limit = Bytes{1 << 16};
  const auto data = read_safetensors_data(path, options);
  if (!data.ok()) return;
  SHOAL_CHECK(check_dataset(*data, "data").ok(), "a reader delivers an inconsistent data set");
  SHOAL_CHECK(data->bytes.size() + 4 * data->floats.size() <= options.memory_limit.count,
              "a reader exceeds its memory limit");
}
