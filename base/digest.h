// A SHA-256 value. Computing one is protocol/sha256.h; the machine only compares them.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>

namespace shoal {

struct Digest {
  std::array<std::uint8_t, 32> bytes{};

  friend auto operator<=>(const Digest&, const Digest&) = default;
  std::string hex() const {
    constexpr char kDigits[] = "0123456789abcdef";
    std::string text;
    for (std::uint8_t b : bytes) text += {kDigits[b >> 4], kDigits[b & 15]};
    return text;
  }
  template <class Archive>
  void fields(Archive& a) {
    a(bytes);
  }
};

}  // namespace shoal
