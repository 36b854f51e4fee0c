// Replays the saved inputs of every fuzz target, and what is near them, as unit tests.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "base/rng.h"
#include "protocol/durable_file.h"

// fuzz_targets.inc is generated: one SHOAL_FUZZ_TARGET(name) for each target of CMakeLists.txt.
#define SHOAL_FUZZ_TARGET(name) void fuzz_##name(std::span<const std::byte> input);
#include "fuzz_targets.inc"
#undef SHOAL_FUZZ_TARGET

namespace shoal {
namespace {

struct Target {
  const char* name;
  void (*run)(std::span<const std::byte>);
};

const Target kTargets[] = {
#define SHOAL_FUZZ_TARGET(name) {#name, fuzz_##name},
#include "fuzz_targets.inc"
#undef SHOAL_FUZZ_TARGET
};

class CorpusTest : public ::testing::TestWithParam<Target> {
 protected:
  // In the order of their names, so that a run repeats.
  void SetUp() override {
    const std::string folder = std::string(SHOAL_SOURCE_DIR) + "/tests/fuzz/corpus/" + GetParam().name;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) files_.push_back(entry.path());
    std::sort(files_.begin(), files_.end());
    ASSERT_FALSE(files_.empty()) << "no inputs in " << folder;
  }
  std::string read(const std::filesystem::path& file) { return protocol::read_file(file.string(), 1 << 20).value(); }
  void run(const std::string& input) { GetParam().run(std::as_bytes(std::span(input))); }

  std::vector<std::filesystem::path> files_;
};

// A target aborts the program when what it checks does not hold; there is nothing to expect beyond that it returns.
TEST_P(CorpusTest, SavedInputs) {
  for (const auto& file : files_) {
    SCOPED_TRACE(file.string());
    run(read(file));
  }
}

TEST_P(CorpusTest, TruncatedInputs) {
  for (const auto& file : files_) {
    const std::string whole = read(file);
    const std::size_t step = 1 + whole.size() / 300;
    for (std::size_t n = 0; n < whole.size(); n += step) run(whole.substr(0, n));
  }
}

TEST_P(CorpusTest, MutatedInputs) {
  Stream stream(1, GetParam().name);
  for (const auto& file : files_) {
    const std::string whole = read(file);
    if (whole.empty()) continue;
    for (int i = 0; i < 300; ++i) {
      std::string mutated = whole;
      for (std::uint64_t edits = 1 + stream.below(4); edits > 0; --edits)
        mutated[stream.below(mutated.size())] = static_cast<char>(stream.next32());
      run(mutated);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Fuzz, CorpusTest, ::testing::ValuesIn(kTargets),
                         [](const ::testing::TestParamInfo<Target>& target) { return std::string(target.param.name); });

}  // namespace
}  // namespace shoal
