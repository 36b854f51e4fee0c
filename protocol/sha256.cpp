#include "protocol/sha256.h"

#include <openssl/evp.h>

#include "base/check.h"

namespace shoal::protocol {

struct Sha256::Impl {
  EVP_MD_CTX* context = EVP_MD_CTX_new();

  Impl() {
    SHOAL_CHECK(context != nullptr, "no memory for a SHA-256 context");
    start();
  }
  ~Impl() { EVP_MD_CTX_free(context); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void start() { SHOAL_CHECK(EVP_DigestInit_ex(context, EVP_sha256(), nullptr) == 1, "OpenSSL has no SHA-256"); }
};

Sha256::Sha256() : impl_(std::make_unique<Impl>()) {}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::update(std::span<const std::byte> bytes) {
  SHOAL_CHECK(EVP_DigestUpdate(impl_->context, bytes.data(), bytes.size()) == 1, "SHA-256 update failed");
}

Digest Sha256::finish() {
  Digest digest;
  SHOAL_CHECK(EVP_DigestFinal_ex(impl_->context, digest.bytes.data(), nullptr) == 1, "SHA-256 final failed");
  impl_->start();
  return digest;
}

Digest sha256(std::span<const std::byte> bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.finish();
}

}  // namespace shoal::protocol
