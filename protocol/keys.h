// CURVE keys (X25519): made, written as Z85 text, and kept in a file that only its owner may read.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "protocol/transport.h"

namespace shoal::protocol {

using SecretKey = std::array<std::uint8_t, 32>;

// From OpenSSL's generator. kFailed when the system has no entropy to give.
Status random_bytes(std::span<std::byte> out);
Result<KeyPair> make_key_pair();
Result<PublicKey> public_key_of(const SecretKey& secret_key);

// Z85 (ZeroMQ RFC 32): four bytes to five printable characters. `bytes` has a multiple of 4 (checked).
std::string z85_encode(std::span<const std::uint8_t> bytes);
// kInvalid unless the text is whole groups of five characters that each stand for 32 bits.
Result<std::vector<std::uint8_t>> z85_decode(std::string_view text);
// 40 characters of Z85; public and secret keys alike.
Result<PublicKey> parse_key(std::string_view text);

// The file is made anew, mode 0600, and is durable on return. kInvalid if it exists already: a key is never
// overwritten.
Status save_key_pair(const std::string& path, const KeyPair& keys);
// kNotFound; kDenied when others may read the file; kCorrupt when it is not two keys that belong together.
Result<KeyPair> load_key_pair(const std::string& path);

}  // namespace shoal::protocol
