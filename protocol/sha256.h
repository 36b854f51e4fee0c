// SHA-256 (FIPS 180-4) through OpenSSL, streaming and in one go.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "base/digest.h"

namespace shoal::protocol {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void update(std::span<const std::byte> bytes);
  // The digest of everything since construction or the last finish(); the object then starts anew.
  Digest finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

Digest sha256(std::span<const std::byte> bytes);

}  // namespace shoal::protocol
