#include "coordinator/extent_header.h"

#include <cstring>
#include <string>
#include <string_view>

#include "base/archive.h"
#include "base/check.h"
#include "protocol/sha256.h"

namespace shoal::coordinator {
namespace {

constexpr std::uint64_t kMagic = 0x316E74784C6F6853;  // "ShoLxtn1"
constexpr std::string_view kPurpose = "shoal extent";
constexpr std::size_t kSealedAt = 8 + 8 + 4;

template <class T>
T load(std::span<const std::byte> bytes) {
  T value{};
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

protocol::ObjectInfo header_object(std::size_t plain_bytes, const protocol::ObjectKey& period_key, ExtentPlace place) {
  protocol::Sha256 hash;
  hash.update(std::as_bytes(std::span(period_key)));
  hash.update(std::as_bytes(std::span(kPurpose)));
  hash.update(std::as_bytes(std::span(&place.segment, 1)));
  hash.update(std::as_bytes(std::span(&place.offset, 1)));
  return {
      .id = place.offset, .bytes = plain_bytes, .suite = protocol::CipherSuite::kAes256Gcm, .key = hash.finish().bytes};
}

}  // namespace

std::uint64_t extent_bytes(const protocol::ObjectInfo& object) {
  return kBlock + (object.sealed_bytes() + kBlock - 1) / kBlock * kBlock;
}

Block seal_header(const ExtentRecord& record, std::uint64_t period, const protocol::ObjectKey& period_key,
                  ExtentPlace place) {
  const std::string plain = encode_state(record);
  const std::uint32_t length = static_cast<std::uint32_t>(plain.size() + protocol::kTagBytes);
  Block block{};
  SHOAL_CHECK(kSealedAt + length <= block.size(), "a record fits in its block");
  std::memcpy(block.data(), &kMagic, 8);
  std::memcpy(block.data() + 8, &period, 8);
  std::memcpy(block.data() + 16, &length, 4);
  protocol::ChunkCipher cipher(header_object(plain.size(), period_key, place));
  cipher.seal(0, std::as_bytes(std::span(plain)), std::span(block).subspan(kSealedAt, length));
  return block;
}

std::optional<std::uint64_t> header_period(std::span<const std::byte, kBlock> block) {
  if (load<std::uint64_t>(block) != kMagic) return std::nullopt;
  return load<std::uint64_t>(block.subspan(8));
}

std::optional<ExtentRecord> open_header(std::span<const std::byte, kBlock> block, const protocol::ObjectKey& period_key,
                                        ExtentPlace place) {
  const auto length = load<std::uint32_t>(block.subspan(16));
  if (!header_period(block) || length <= protocol::kTagBytes || length > kBlock - kSealedAt) return std::nullopt;
  std::string plain(length - protocol::kTagBytes, '\0');
  protocol::ChunkCipher cipher(header_object(plain.size(), period_key, place));
  if (!cipher.open(0, block.subspan(kSealedAt, length), std::as_writable_bytes(std::span(plain))).ok())
    return std::nullopt;
  return decode_state<ExtentRecord>(plain);
}

}  // namespace shoal::coordinator
