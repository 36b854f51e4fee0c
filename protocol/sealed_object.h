// Sealed objects: what crosses the bulk plane and lies on disk. A byte string cut in chunks, each encrypted and tagged.
//
//   object := chunk{count}          chunk := ciphertext tag[16]
//   Every chunk but the last holds kChunkBytes of plaintext. Nonce = chunk index (96-bit little endian), associated
//   data = object id u64, chunk index u32, chunk count u32 (little endian). One random key an object, never used twice.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/digest.h"
#include "base/result.h"

namespace shoal::protocol {

// Plaintext bytes in a chunk: 64 tiles of 1,024 floats.
inline constexpr std::size_t kChunkBytes = 256 * 1024;
inline constexpr std::size_t kTagBytes = 16;

// Values are permanent. Boards without AES instructions want ChaCha20.
enum class CipherSuite : std::uint8_t { kAes256Gcm = 1, kChaCha20Poly1305 = 2 };

using ObjectKey = std::array<std::uint8_t, 32>;

struct ObjectInfo {
  std::uint64_t id = 0;     // an update's assignment, or a random id of a model
  std::uint64_t bytes = 0;  // plaintext
  CipherSuite suite = CipherSuite::kAes256Gcm;
  ObjectKey key{};  // travels over the control plane only

  std::uint32_t chunks() const { return static_cast<std::uint32_t>((bytes + kChunkBytes - 1) / kChunkBytes); }
  // Sealed size of one chunk, and of the whole object.
  std::size_t sealed_bytes(std::uint32_t chunk) const;
  std::uint64_t sealed_bytes() const { return bytes + std::uint64_t{chunks()} * kTagBytes; }

  template <class Archive>
  void fields(Archive& a) {
    a(id, bytes, suite, key);
  }
  friend bool operator==(const ObjectInfo&, const ObjectInfo&) = default;
};

// A fresh random key from OpenSSL.
Result<ObjectKey> make_object_key();
// AES-GCM where the processor has AES instructions, else ChaCha20.
CipherSuite preferred_suite();

// Seals or opens chunks of one object. Keeps one cipher context; not thread-safe, cheap to make per thread.
class ChunkCipher {
 public:
  explicit ChunkCipher(const ObjectInfo& object);
  ~ChunkCipher();
  ChunkCipher(ChunkCipher&&) noexcept;

  // `sealed` is plain.size() + kTagBytes long. plain.size() must be what the chunk holds (checked).
  void seal(std::uint32_t chunk, std::span<const std::byte> plain, std::span<std::byte> sealed);
  // kCorrupt when the tag does not verify; `plain` is then unspecified.
  Status open(std::uint32_t chunk, std::span<const std::byte> sealed, std::span<std::byte> plain);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace shoal::protocol
