// The part of keys.h that touches the disk.
#include <sys/stat.h>

#include "protocol/durable_file.h"
#include "protocol/key_value_text.h"
#include "protocol/keys.h"
#include "protocol/limits.h"

namespace shoal::protocol {
namespace {

constexpr std::string_view kNames[] = {"public-key", "secret-key"};

Result<KeyPair> parse_key_file(std::string_view text) {
  SHOAL_TRY_ASSIGN(const auto values, parse_key_value_text(text, kNames));
  KeyPair keys;
  SHOAL_TRY_ASSIGN(keys.public_key, parse_key(values.at("public-key")));
  SHOAL_TRY_ASSIGN(keys.secret_key, parse_key(values.at("secret-key")));
  SHOAL_TRY_ASSIGN(const PublicKey expected, public_key_of(keys.secret_key));
  if (keys.public_key != expected)
    return Error(ErrorCode::kInvalid, "the secret key does not belong to the public key");
  return keys;
}

}  // namespace

Status save_key_pair(const std::string& path, const KeyPair& keys) {
  const std::string text =
      "# CURVE key pair. Whoever reads the secret key is this machine: keep the file to its owner.\npublic-key = " +
      z85_encode(keys.public_key) + "\nsecret-key = " + z85_encode(keys.secret_key) + "\n";
  if (Status status = write_file(path, text, 0600, IfExists::kRefuse); !status.ok())
    return std::move(status).error().because_of_this("cannot keep a new key in " + path);
  return {};
}

Result<KeyPair> load_key_pair(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0 && (status.st_mode & 077) != 0)
    return Error(ErrorCode::kDenied, "key file " + path + " can be read or written by other users; run chmod 600 " +
                                         path + ", and make a new key if somebody may have read it");
  SHOAL_TRY_ASSIGN(const std::string text, read_file(path, kMaxKeyFileBytes));
  Result<KeyPair> keys = parse_key_file(text);
  if (!keys.ok())
    return Error(ErrorCode::kCorrupt, "key file " + path + " cannot be used: " + keys.error().to_string() +
                                          "; restore it from a backup, or remove it and enrol anew");
  return keys;
}

}  // namespace shoal::protocol
