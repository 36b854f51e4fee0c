// Sealed objects with contents that follow from a number, and how to compare what a store gives back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/rng.h"
#include "protocol/sealed_object.h"

namespace shoal::tests {

inline std::vector<std::byte> sample_bytes(std::uint64_t seed, std::size_t count) {
  Stream stream(seed, "sample bytes");
  std::vector<std::byte> bytes(count);
  for (std::byte& b : bytes) b = static_cast<std::byte>(stream.next32());
  return bytes;
}

// The same arguments give the same object, key included.
class SampleObject {
 public:
  SampleObject(std::uint64_t id, std::size_t bytes, std::uint64_t seed) : plain_(sample_bytes(seed, bytes)) {
    info_.id = id;
    info_.bytes = bytes;
    Stream stream(seed, "sample key");
    for (std::uint8_t& b : info_.key) b = static_cast<std::uint8_t>(stream.next32());
  }

  const protocol::ObjectInfo& info() const { return info_; }
  std::span<const std::byte> plain(std::uint32_t chunk) const {
    return std::span(plain_).subspan(chunk * protocol::kChunkBytes, info_.sealed_bytes(chunk) - protocol::kTagBytes);
  }
  std::vector<std::byte> sealed(std::uint32_t chunk) const {
    std::vector<std::byte> bytes(info_.sealed_bytes(chunk));
    protocol::ChunkCipher(info_).seal(chunk, plain(chunk), bytes);
    return bytes;
  }

 private:
  std::vector<std::byte> plain_;
  protocol::ObjectInfo info_;
};

}  // namespace shoal::tests
