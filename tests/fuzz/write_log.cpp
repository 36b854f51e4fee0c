// The journal's write log. The input is the two slots of 48 bytes and then the records, each where the file has it.
#include "coordinator/rocksdb/write_log.h"

#include <algorithm>

#include "base/check.h"
#include "tests/fuzz/fuzz_target.h"

using namespace shoal;

FUZZ_TARGET(write_log) {
  constexpr std::size_t kSlot = 48, kSlotSpace = 4096;
  std::vector<std::byte> log(2 * kSlotSpace);
  const auto slots = input.first(std::min(input.size(), 2 * kSlot));
  for (std::size_t i = 0; i < slots.size(); ++i) log[i / kSlot * kSlotSpace + i % kSlot] = slots[i];
  log.insert(log.end(), input.begin() + static_cast<std::ptrdiff_t>(slots.size()), input.end());
  const auto contents = coordinator::read_log(log, "log");
  if (!contents.ok()) return;
  std::size_t bytes = 2 * kSlotSpace;
  for (const std::string_view payload : contents->payloads) bytes += 44 + payload.size();
  SHOAL_CHECK(bytes == contents->end && bytes <= log.size(), "records overlap or leave a hole");
}
