// Whole safetensors files: models as float32 arrays, and single tensors of other types for data sets.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "protocol/safetensors.h"

namespace shoal::protocol {

// The values are the file itself, mapped: they take memory only while somebody reads them, and the system takes it back
// when it is short. Nobody may shorten the file meanwhile.
struct ModelFile {
  TensorLayout layout;
  std::span<const float> values;  // layout.total() long, as long as `memory` lives
  std::shared_ptr<const void> memory;
  bool mapped = false;
  std::map<std::string, std::string> metadata;  // without kGroupsKey, which is in the layout

  // Until somebody reads the values again they need no memory.
  void let_go() const;
};

// kNotFound, kCorrupt or kInvalid, each naming the file.
Result<ModelFile> read_model(const std::string& path);
// Written beside `path`, synced and renamed: readers see the old file or the whole new one. `values` is layout.total()
// long (checked).
Status write_model(const std::string& path, const TensorLayout& layout, std::span<const float> values,
                   const std::map<std::string, std::string>& metadata);

// A file that stays open, for reading tensors one by one. Reading is thread-safe.
class SafetensorsFile {
 public:
  static Result<SafetensorsFile> open(const std::string& path);
  ~SafetensorsFile();
  SafetensorsFile(SafetensorsFile&& other) noexcept;
  SafetensorsFile& operator=(SafetensorsFile&& other) noexcept;

  const SafetensorsHeader& header() const { return header_; }
  std::uint64_t file_size() const { return file_size_; }

  // `tensor` is one of header(). Raw bytes, little endian; `out` is as long as the tensor.
  Status read(const SafetensorsHeader::Tensor& tensor, std::span<std::byte> out) const;
  // The whole file; it stays when this object goes.
  Result<std::shared_ptr<const void>> map() const;
  // Any numeric type, converted to the nearest float32.
  Result<std::vector<float>> read_floats(const SafetensorsHeader::Tensor& tensor) const;
  // Integer and bool types only; kInvalid for floats and for values above 2^63 - 1.
  Result<std::vector<std::int64_t>> read_integers(const SafetensorsHeader::Tensor& tensor) const;

 private:
  SafetensorsFile(int descriptor, std::string path, std::uint64_t file_size, SafetensorsHeader header);

  int descriptor_ = -1;
  std::string path_;
  std::uint64_t file_size_ = 0;
  SafetensorsHeader header_;
};

}  // namespace shoal::protocol
