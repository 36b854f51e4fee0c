// Safetensors headers: the public layout of a file of named tensors, and how a model's layout is kept in it.
//
//   file   := length header data        length: u64 little endian, bytes of header (with its padding)
//   header := JSON object, padded with spaces so that data begins at a multiple of 8:
//             {"__metadata__": {name: text, ...},
//              NAME: {"dtype": "F32", "shape": [..], "data_offsets": [begin, end]}, ...}
//   data   := the tensors, one after the other, without holes or overlaps; offsets count from the start of data
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/tensor_layout.h"

namespace shoal::protocol {

enum class Dtype : std::uint8_t { kBool, kU8, kI8, kU16, kI16, kU32, kI32, kU64, kI64, kF16, kBF16, kF32, kF64 };
std::size_t size_of(Dtype dtype);
std::string_view name_of(Dtype dtype);  // as in the file: "F32"

struct SafetensorsHeader {
  struct Tensor {
    std::string name;
    Dtype dtype = Dtype::kF32;
    std::vector<std::uint64_t> shape;
    std::uint64_t begin = 0, end = 0;  // bytes from the start of data

    std::uint64_t count() const { return (end - begin) / size_of(dtype); }
  };
  std::vector<Tensor> tensors;  // in the order of their data
  std::map<std::string, std::string> metadata;
  std::uint64_t data_offset = 0;  // of data in the file

  const Tensor* find(std::string_view name) const;  // nullptr if there is none
};

// Bytes of length and header together, from the first 8 bytes of a file. kCorrupt when they exceed the file or
// kMaxSafetensorsHeaderBytes.
Result<std::uint64_t> header_bytes(std::span<const std::byte> first_8, std::uint64_t file_size);

// `bytes` begins the file and holds the whole header (more is ignored). kCorrupt with what is wrong: JSON, types,
// repeated names, offsets that overlap, leave holes, overflow, contradict shapes or do not end with the file.
Result<SafetensorsHeader> parse_header(std::span<const std::byte> bytes, std::uint64_t file_size);

// Everything before data, for a float32 model: length, JSON and padding. The same arguments give the same bytes. The
// groups of `layout` go to metadata under kGroupsKey. kInvalid when a name is not UTF-8 or the header would exceed its
// limit.
inline constexpr std::string_view kGroupsKey = "shoal.groups";
Result<std::string> make_header(const TensorLayout& layout, const std::map<std::string, std::string>& metadata);

// The layout of a float32 model. Without groups in the metadata (a file from elsewhere) the last matrix `X.weight` and
// its `X.bias` are the head, and the rest is backbone. kInvalid when a tensor is not float32 or a group is unknown.
Result<TensorLayout> layout_of(const SafetensorsHeader& header);

}  // namespace shoal::protocol
