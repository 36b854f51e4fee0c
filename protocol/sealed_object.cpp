#include "protocol/sealed_object.h"

#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>
#include <cstring>
#include <utility>

#if defined(__aarch64__) || defined(__arm__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include "base/check.h"

namespace shoal::protocol {
namespace {

constexpr std::size_t kNonceBytes = 12;
constexpr std::size_t kAssociatedBytes = 16;

const EVP_CIPHER* cipher_of(CipherSuite suite) {
  switch (suite) {
    case CipherSuite::kAes256Gcm: return EVP_aes_256_gcm();
    case CipherSuite::kChaCha20Poly1305: return EVP_chacha20_poly1305();
  }
  check_failed(__FILE__, __LINE__, "a cipher suite that no decoder lets in");
}

void put_le32(std::uint32_t value, unsigned char* out) {
  for (int i = 0; i < 4; ++i) out[i] = static_cast<unsigned char>(value >> (8 * i));
}

const unsigned char* as_uchar(const std::byte* bytes) { return reinterpret_cast<const unsigned char*>(bytes); }
unsigned char* as_uchar(std::byte* bytes) { return reinterpret_cast<unsigned char*>(bytes); }

bool has_aes_instructions() {
#if defined(__x86_64__) || defined(__i386__)
  return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul");
#elif defined(__aarch64__)
  return (getauxval(AT_HWCAP) & HWCAP_AES) != 0 && (getauxval(AT_HWCAP) & HWCAP_PMULL) != 0;
#elif defined(__arm__)
  return (getauxval(AT_HWCAP2) & HWCAP2_AES) != 0 && (getauxval(AT_HWCAP2) & HWCAP2_PMULL) != 0;
#else
  return false;
#endif
}

}  // namespace

std::size_t ObjectInfo::sealed_bytes(std::uint32_t chunk) const {
  SHOAL_CHECK(chunk < chunks(), "a chunk beyond the object's end");
  return static_cast<std::size_t>(std::min<std::uint64_t>(kChunkBytes, bytes - std::uint64_t{chunk} * kChunkBytes)) +
         kTagBytes;
}

Result<ObjectKey> make_object_key() {
  ObjectKey key;
  if (RAND_priv_bytes(key.data(), static_cast<int>(key.size())) != 1)
    return Error(ErrorCode::kFailed, "the system has no random bytes for an object key");
  return key;
}

CipherSuite preferred_suite() {
  return has_aes_instructions() ? CipherSuite::kAes256Gcm : CipherSuite::kChaCha20Poly1305;
}

struct ChunkCipher::Impl {
  explicit Impl(const ObjectInfo& described) : object(described), context(EVP_CIPHER_CTX_new()) {
    object.key.fill(0);  // from here on only the context holds it
    const int ready = context == nullptr ? 0
                                         : EVP_CipherInit_ex(context, cipher_of(described.suite), nullptr,
                                                             described.key.data(), nullptr, 1);
    SHOAL_CHECK(ready == 1, "OpenSSL lacks a cipher suite of this protocol");
    for (int i = 0; i < 8; ++i) associated[i] = static_cast<unsigned char>(object.id >> (8 * i));
    put_le32(object.chunks(), associated + 12);
  }
  ~Impl() { EVP_CIPHER_CTX_free(context); }  // wipes the key schedule
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  // The key's schedule stays; only nonce, direction and associated data are set anew for each chunk.
  bool begin(std::uint32_t chunk, bool sealing) {
    unsigned char nonce[kNonceBytes] = {};
    put_le32(chunk, nonce);
    put_le32(chunk, associated + 8);
    int n = 0;
    return EVP_CipherInit_ex(context, nullptr, nullptr, nullptr, nonce, sealing ? 1 : 0) == 1 &&
           EVP_CipherUpdate(context, nullptr, &n, associated, kAssociatedBytes) == 1;
  }

  ObjectInfo object;
  EVP_CIPHER_CTX* context;
  unsigned char associated[kAssociatedBytes] = {};  // id u64, index u32, count u32
};

ChunkCipher::ChunkCipher(const ObjectInfo& object) : impl_(std::make_unique<Impl>(object)) {}
ChunkCipher::~ChunkCipher() = default;
ChunkCipher::ChunkCipher(ChunkCipher&&) noexcept = default;

void ChunkCipher::seal(std::uint32_t chunk, std::span<const std::byte> plain, std::span<std::byte> sealed) {
  SHOAL_CHECK(sealed.size() == impl_->object.sealed_bytes(chunk), "a sealed chunk of the wrong size");
  SHOAL_CHECK(plain.size() + kTagBytes == sealed.size(), "a plain chunk of the wrong size");
  unsigned char* out = as_uchar(sealed.data());
  int n = 0, rest = 0;
  const bool done =
      impl_->begin(chunk, true) &&
      EVP_CipherUpdate(impl_->context, out, &n, as_uchar(plain.data()), static_cast<int>(plain.size())) == 1 &&
      EVP_CipherFinal_ex(impl_->context, out + n, &rest) == 1 &&
      EVP_CIPHER_CTX_ctrl(impl_->context, EVP_CTRL_AEAD_GET_TAG, kTagBytes, out + plain.size()) == 1;
  SHOAL_CHECK(done, "OpenSSL failed to seal a chunk");
}

Status ChunkCipher::open(std::uint32_t chunk, std::span<const std::byte> sealed, std::span<std::byte> plain) {
  const auto corrupt = [chunk](const char* why) {
    return Error(ErrorCode::kCorrupt, "chunk " + std::to_string(chunk) + " of a sealed object " + why);
  };
  if (chunk >= impl_->object.chunks()) return corrupt("lies beyond its end");
  if (sealed.size() != impl_->object.sealed_bytes(chunk)) return corrupt("has the wrong size");
  SHOAL_CHECK(plain.size() + kTagBytes == sealed.size(), "room for a plain chunk of the wrong size");

  unsigned char tag[kTagBytes];
  std::memcpy(tag, sealed.data() + plain.size(), kTagBytes);
  unsigned char* out = as_uchar(plain.data());
  int n = 0, rest = 0;
  const bool prepared =
      impl_->begin(chunk, false) && EVP_CIPHER_CTX_ctrl(impl_->context, EVP_CTRL_AEAD_SET_TAG, kTagBytes, tag) == 1 &&
      EVP_CipherUpdate(impl_->context, out, &n, as_uchar(sealed.data()), static_cast<int>(plain.size())) == 1;
  SHOAL_CHECK(prepared, "OpenSSL failed to open a chunk");
  if (EVP_CipherFinal_ex(impl_->context, out + n, &rest) != 1) return corrupt("does not open with its key");
  return {};
}

}  // namespace shoal::protocol
