// CIFAR-10's binary records: one label byte, then 1,024 red, 1,024 green and 1,024 blue pixels, row by row.
#include <array>

#include "client/data/readers.h"

namespace shoal::client::data {
namespace {

constexpr std::size_t kPixels = 3 * 32 * 32;
constexpr std::uint32_t kClasses = 10;

}  // namespace

Status read_cifar(ByteSource& records, Bytes memory_limit, Dataset& dataset) {
  dataset.shape = {3, 32, 32};
  dataset.classes = kClasses;
  std::array<std::uint8_t, 1 + kPixels> record{};
  for (;;) {
    const std::uint64_t start = records.position();
    SHOAL_TRY_ASSIGN(const std::size_t got, records.read(record));
    if (got == 0) break;
    if (got < record.size())
      return records.corrupt("it ends " + std::to_string(got) + " bytes into a record of 3073 bytes");
    if (record[0] >= kClasses)
      return records.corrupt("the record at byte " + std::to_string(start) + " has label " + std::to_string(record[0]) +
                             ", CIFAR-10 has 0 to 9");
    if (dataset.bytes.size() + kPixels > memory_limit.count)
      return Error(ErrorCode::kExhausted,
                   records.name() + ": more than the memory limit of " + human_bytes(memory_limit.count));
    dataset.bytes.insert(dataset.bytes.end(), record.begin() + 1, record.end());
    dataset.labels.push_back(record[0]);
  }
  if (records.position() == 0) return records.corrupt("it is empty");
  return {};
}

}  // namespace shoal::client::data
