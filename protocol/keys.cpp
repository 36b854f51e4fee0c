#include "protocol/keys.h"

#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>
#include <memory>

#include "base/check.h"

namespace shoal::protocol {
namespace {

struct FreeKey {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};

constexpr std::string_view kZ85Digits =
    "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
static_assert(kZ85Digits.size() == 85);

}  // namespace

Status random_bytes(std::span<std::byte> out) {
  if (RAND_priv_bytes_ex(nullptr, reinterpret_cast<unsigned char*>(out.data()), out.size(), 0) != 1)
    return Error(ErrorCode::kFailed, "the system's random generator gave no bytes");
  return {};
}

Result<PublicKey> public_key_of(const SecretKey& secret_key) {
  const std::unique_ptr<EVP_PKEY, FreeKey> key(
      EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr, secret_key.data(), secret_key.size()));
  PublicKey public_key;
  std::size_t size = public_key.size();
  if (!key || EVP_PKEY_get_raw_public_key(key.get(), public_key.data(), &size) != 1 || size != public_key.size())
    return Error(ErrorCode::kFailed, "OpenSSL cannot compute an X25519 public key");
  return public_key;
}

Result<KeyPair> make_key_pair() {
  // Any 32 bytes are an X25519 secret: both sides clear and set the same bits when they use it (RFC 7748).
  KeyPair keys;
  SHOAL_TRY(random_bytes(std::as_writable_bytes(std::span(keys.secret_key))));
  SHOAL_TRY_ASSIGN(keys.public_key, public_key_of(keys.secret_key));
  return keys;
}

std::string z85_encode(std::span<const std::uint8_t> bytes) {
  SHOAL_CHECK(bytes.size() % 4 == 0, "Z85 takes groups of four bytes");
  std::string text(bytes.size() / 4 * 5, '\0');
  for (std::size_t group = 0; group < bytes.size() / 4; ++group) {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < 4; ++i) value = value << 8 | bytes[group * 4 + i];
    for (std::size_t i = 5; i-- > 0; value /= 85) text[group * 5 + i] = kZ85Digits[value % 85];
  }
  return text;
}

Result<std::vector<std::uint8_t>> z85_decode(std::string_view text) {
  if (text.size() % 5 != 0)
    return Error(ErrorCode::kInvalid, "Z85 text comes in groups of five characters; some are missing");
  std::vector<std::uint8_t> bytes;
  bytes.reserve(text.size() / 5 * 4);
  for (std::size_t group = 0; group < text.size(); group += 5) {
    std::uint64_t value = 0;
    for (char c : text.substr(group, 5)) {
      const std::size_t digit = kZ85Digits.find(c);
      if (digit == std::string_view::npos) return Error(ErrorCode::kInvalid, "a character is not one of Z85's 85");
      value = value * 85 + digit;
    }
    if (value > 0xFFFFFFFF) return Error(ErrorCode::kInvalid, "a group of Z85 characters stands for more than 32 bits");
    for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<std::uint8_t>(value >> shift));
  }
  return bytes;
}

Result<PublicKey> parse_key(std::string_view text) {
  PublicKey key;
  if (text.size() != key.size() / 4 * 5) return Error(ErrorCode::kInvalid, "a key is 40 characters of Z85");
  SHOAL_TRY_ASSIGN(const std::vector<std::uint8_t> bytes, z85_decode(text));
  std::copy(bytes.begin(), bytes.end(), key.begin());
  return key;
}

}  // namespace shoal::protocol
