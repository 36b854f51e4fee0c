// The header of a model or data file from anywhere. The input is the beginning of the file.
#include <cstring>

#include "base/check.h"
#include "protocol/safetensors.h"
#include "tests/fuzz/fuzz_target.h"

using namespace shoal::protocol;

namespace {

// Most inputs have no data behind the header: the file is as long as the input, or as the last 8 bytes say.
std::uint64_t file_size_of(std::span<const std::byte> input) {
  std::uint64_t stated = 0;
  if (input.size() >= 16) std::memcpy(&stated, input.data() + input.size() - 8, 8);
  return stated >= input.size() ? stated : input.size();
}

}  // namespace

FUZZ_TARGET(safetensors_header) {
  const std::uint64_t file_size = file_size_of(input);
  const auto header = parse_header(input, file_size);
  if (!header.ok()) return;
  std::uint64_t end = 0;
  for (const auto& tensor : header->tensors) {
    SHOAL_CHECK(tensor.begin == end && tensor.end >= end, "tensors overlap or leave a hole");
    SHOAL_CHECK((tensor.end - tensor.begin) % size_of(tensor.dtype) == 0, "a tensor is not whole elements");
    end = tensor.end;
  }
  SHOAL_CHECK(header->data_offset + end == file_size, "tensors do not end with the file");

  const auto layout = layout_of(*header);
  if (!layout.ok()) return;
  SHOAL_CHECK(layout->total() * sizeof(float) == end, "a layout has another size than its file");
  const auto made = make_header(*layout, header->metadata);
  if (!made.ok()) return;  // longer than the limit once it has groups
  const auto again = parse_header(std::as_bytes(std::span(*made)), made->size() + end);
  SHOAL_CHECK(again.ok() && *layout_of(*again) == *layout, "a layout does not survive being written");
}
