// Compressed files: the first byte chooses gzip or xz.
#include <array>

#include "base/check.h"
#include "client/data/byte_source.h"
#include "tests/fuzz/fuzz_target.h"

using namespace shoal;
using namespace shoal::client::data;

FUZZ_TARGET(compressed) {
  if (input.empty()) return;
  auto packed = bytes_in_memory({reinterpret_cast<const std::uint8_t*>(input.data()) + 1, input.size() - 1}, "packed");
  auto source = (input[0] == std::byte{0} ? gunzip : unxz)(std::move(packed));
  if (!source.ok()) return;
  std::array<std::uint8_t, 4096> piece{};
  constexpr std::uint64_t kEnough = 1 << 20;  // a bomb is stopped by the reader's memory limit, here by patience
  while ((*source)->position() < kEnough) {
    const std::uint64_t before = (*source)->position();
    const auto got = (*source)->read(piece);
    if (!got.ok()) return;
    SHOAL_CHECK((*source)->position() == before + *got, "a source miscounts its bytes");
    if (*got < piece.size()) return;
  }
}
