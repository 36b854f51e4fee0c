// Sealed chunks: exactly the grammar of the header, and nothing that was touched opens.
#include "protocol/sealed_object.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>

#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "base/rng.h"

namespace shoal::protocol {
namespace {

std::vector<std::byte> random_bytes_of(std::size_t size, std::uint64_t seed) {
  Stream random(seed, "plain");
  std::vector<std::byte> bytes(size);
  for (std::byte& b : bytes) b = static_cast<std::byte>(random.next32());
  return bytes;
}

std::string hex(std::span<const std::byte> bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const std::byte b : bytes)
    text += {kDigits[std::to_integer<int>(b >> 4)], kDigits[std::to_integer<int>(b & std::byte{15})]};
  return text;
}

// The grammar once more, each chunk with a fresh context and written-out nonce and associated data.
std::vector<std::byte> seal_by_the_book(const ObjectInfo& object, std::uint32_t chunk,
                                        std::span<const std::byte> plain) {
  std::array<unsigned char, 12> nonce{};
  std::array<unsigned char, 16> associated{};
  const std::uint32_t count = object.chunks();
  std::memcpy(nonce.data(), &chunk, 4);
  std::memcpy(associated.data(), &object.id, 8);
  std::memcpy(associated.data() + 8, &chunk, 4);
  std::memcpy(associated.data() + 12, &count, 4);

  std::vector<std::byte> sealed(plain.size() + kTagBytes);
  auto* out = reinterpret_cast<unsigned char*>(sealed.data());
  const EVP_CIPHER* cipher = object.suite == CipherSuite::kAes256Gcm ? EVP_aes_256_gcm() : EVP_chacha20_poly1305();
  EVP_CIPHER_CTX* context = EVP_CIPHER_CTX_new();
  int n = 0, rest = 0;
  EXPECT_EQ(EVP_EncryptInit_ex(context, cipher, nullptr, object.key.data(), nonce.data()), 1);
  EXPECT_EQ(EVP_EncryptUpdate(context, nullptr, &n, associated.data(), associated.size()), 1);
  EXPECT_EQ(EVP_EncryptUpdate(context, out, &n, reinterpret_cast<const unsigned char*>(plain.data()),
                              static_cast<int>(plain.size())),
            1);
  EXPECT_EQ(EVP_EncryptFinal_ex(context, out + n, &rest), 1);
  EXPECT_EQ(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, kTagBytes, out + plain.size()), 1);
  EVP_CIPHER_CTX_free(context);
  return sealed;
}

class SealedObjectTest : public ::testing::TestWithParam<CipherSuite> {
 protected:
  ObjectInfo object(std::uint64_t bytes) const {
    ObjectInfo info{42, bytes, GetParam(), {}};
    for (std::size_t i = 0; i < info.key.size(); ++i) info.key[i] = static_cast<std::uint8_t>(i);
    return info;
  }
};

INSTANTIATE_TEST_SUITE_P(Suites, SealedObjectTest,
                         ::testing::Values(CipherSuite::kAes256Gcm, CipherSuite::kChaCha20Poly1305),
                         [](const auto& suite) {
                           return suite.param == CipherSuite::kAes256Gcm ? "AesGcm" : "ChaCha20";
                         });

TEST_P(SealedObjectTest, EveryChunkIsSealedByTheBookAndOpensInAnyOrder) {
  const ObjectInfo info = object(3 * kChunkBytes + 1000);
  ChunkCipher cipher(info);
  std::vector<std::vector<std::byte>> plain, sealed;
  for (std::uint32_t i = 0; i < info.chunks(); ++i) {
    plain.push_back(random_bytes_of(info.sealed_bytes(i) - kTagBytes, i));
    sealed.emplace_back(info.sealed_bytes(i));
    cipher.seal(i, plain[i], sealed[i]);
    EXPECT_TRUE(sealed[i] == seal_by_the_book(info, i, plain[i])) << "chunk " << i;
  }
  for (const std::uint32_t i : {2u, 0u, 3u, 1u, 1u}) {
    std::vector<std::byte> opened(plain[i].size());
    ASSERT_TRUE(cipher.open(i, sealed[i], opened).ok());
    EXPECT_TRUE(opened == plain[i]);
    std::vector<std::byte> again(sealed[i].size());
    cipher.seal(i, plain[i], again);  // the one context changes direction
    EXPECT_TRUE(again == sealed[i]);
  }
}

TEST_P(SealedObjectTest, BytesNeverChangeBetweenVersions) {
  const ObjectInfo info = object(5);
  ChunkCipher cipher(info);
  const std::string_view plain = "shoal";
  std::vector<std::byte> sealed(info.sealed_bytes(0));
  cipher.seal(0, std::as_bytes(std::span(plain)), sealed);
  EXPECT_EQ(hex(sealed), GetParam() == CipherSuite::kAes256Gcm ? "7dd4dabfd918ea44a4057fa773d444104f5cd17851"
                                                               : "6bd02d50c1548b534062d4917f77ee7603c8d27e87");
}

TEST_P(SealedObjectTest, AnyTouchedByteOfCiphertextOrTagIsNoticed) {
  const ObjectInfo info = object(1000);
  ChunkCipher cipher(info);
  const auto plain = random_bytes_of(1000, 1);
  std::vector<std::byte> sealed(info.sealed_bytes(0)), opened(plain.size());
  cipher.seal(0, plain, sealed);
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    sealed[i] ^= std::byte{1};
    const Status status = cipher.open(0, sealed, opened);
    ASSERT_FALSE(status.ok()) << "byte " << i;
    EXPECT_EQ(status.error().code(), ErrorCode::kCorrupt);
    sealed[i] ^= std::byte{1};
  }
  EXPECT_TRUE(cipher.open(0, sealed, opened).ok());
}

TEST_P(SealedObjectTest, AChunkOpensOnlyInItsOwnPlace) {
  const ObjectInfo info = object(2 * kChunkBytes);
  ChunkCipher cipher(info);
  const auto plain = random_bytes_of(kChunkBytes, 1);
  std::vector<std::byte> sealed(info.sealed_bytes(0)), opened(plain.size());
  cipher.seal(0, plain, sealed);
  EXPECT_FALSE(cipher.open(1, sealed, opened).ok()) << "another index";

  ObjectInfo other = info;
  other.id = 43;
  EXPECT_FALSE(ChunkCipher(other).open(0, sealed, opened).ok()) << "another object";
  other = info;
  other.bytes += kChunkBytes;
  EXPECT_FALSE(ChunkCipher(other).open(0, sealed, opened).ok()) << "another count: a truncated or lengthened object";
  other = info;
  other.key[31] ^= 1;
  EXPECT_FALSE(ChunkCipher(other).open(0, sealed, opened).ok()) << "another key";
  other = info;
  other.suite = info.suite == CipherSuite::kAes256Gcm ? CipherSuite::kChaCha20Poly1305 : CipherSuite::kAes256Gcm;
  EXPECT_FALSE(ChunkCipher(other).open(0, sealed, opened).ok()) << "another suite";
}

TEST_P(SealedObjectTest, WrongSizesAreRefusedBeforeAnyWork) {
  const ObjectInfo info = object(kChunkBytes + 10);
  ChunkCipher cipher(info);
  std::vector<std::byte> opened(10);
  for (const std::size_t size : {0, 1, 15, 16, 25, 27, 1000})
    EXPECT_FALSE(cipher.open(1, std::vector<std::byte>(size), opened).ok()) << size;
  EXPECT_FALSE(cipher.open(2, std::vector<std::byte>(26), opened).ok()) << "beyond the end";
}

TEST(SealedObject, SizesFollowFromTheGrammar) {
  EXPECT_EQ((ObjectInfo{.bytes = 0}.chunks()), 0u);
  EXPECT_EQ((ObjectInfo{.bytes = 0}.sealed_bytes()), 0u);
  EXPECT_EQ((ObjectInfo{.bytes = 1}.sealed_bytes(0)), 17u);
  const ObjectInfo whole{.bytes = 2 * kChunkBytes}, more{.bytes = 2 * kChunkBytes + 1};
  EXPECT_EQ(whole.chunks(), 2u);
  EXPECT_EQ(more.chunks(), 3u);
  EXPECT_EQ(more.sealed_bytes(2), 17u);
  std::uint64_t sum = 0;
  for (std::uint32_t i = 0; i < more.chunks(); ++i) sum += more.sealed_bytes(i);
  EXPECT_EQ(sum, more.sealed_bytes());
}

TEST(SealedObject, KeysAreFresh) { EXPECT_NE(make_object_key().value(), make_object_key().value()); }

}  // namespace
}  // namespace shoal::protocol
