// Bytes from a file or from memory, decompressed on the way, in pieces: a reader never holds more than it asked for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/result.h"

namespace shoal::client::data {

class ByteSource {
 public:
  virtual ~ByteSource() = default;

  // The file's name, for messages.
  const std::string& name() const { return name_; }
  // Bytes read so far, after decompression.
  std::uint64_t position() const { return position_; }

  // Fills all of `out` unless the source ends first; returns how many bytes it got. kCorrupt when compressed data are
  // damaged, kFailed when the disk is.
  Result<std::size_t> read(std::span<std::uint8_t> out);

  // Fills all of `out`; kCorrupt, naming the byte, when the source ends first.
  Status read_exactly(std::span<std::uint8_t> out);

  // kCorrupt unless nothing is left.
  Status expect_end();

  // kCorrupt at the current position.
  Error corrupt(std::string why) const;

 protected:
  explicit ByteSource(std::string name) : name_(std::move(name)) {}

 private:
  // At least one byte, unless the source is at its end.
  virtual Result<std::size_t> read_some(std::span<std::uint8_t> out) = 0;

  std::string name_;
  std::uint64_t position_ = 0;
};

// A file; one that ends in .gz or .xz is decompressed. kNotFound when it is not there.
Result<std::unique_ptr<ByteSource>> open_bytes(const std::string& path);

// `bytes` must outlive the source.
std::unique_ptr<ByteSource> bytes_in_memory(std::span<const std::uint8_t> bytes, std::string name);

// Decompress what `compressed` delivers; several members one after the other count as one.
Result<std::unique_ptr<ByteSource>> gunzip(std::unique_ptr<ByteSource> compressed);
Result<std::unique_ptr<ByteSource>> unxz(std::unique_ptr<ByteSource> compressed);

}  // namespace shoal::client::data
