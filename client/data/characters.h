// The characters that text is read as: the same ids on every device, so that a fleet agrees on a model without having
// seen each other's texts.
//
//   0        any other character
//   1        end of a line
//   2 .. 96  printable ASCII, from ' ' to '~'
//
// Text is taken as UTF-8, where any character beyond ASCII counts as one other character; '\r' is left out, a tab is a
// space.
#pragma once

#include <cstdint>
#include <optional>

namespace shoal::client::data {

inline constexpr std::uint32_t kCharacters = 97;  // ids that there are
inline constexpr std::uint8_t kOtherCharacter = 0, kLineEnd = 1;

// The id that a byte of text adds; nothing for bytes that add none.
constexpr std::optional<std::uint8_t> character_of(std::uint8_t byte) {
  if (byte >= ' ' && byte <= '~') return static_cast<std::uint8_t>(byte - ' ' + 2);
  if (byte == '\n') return kLineEnd;
  if (byte == '\t') return std::uint8_t{2};
  if (byte == '\r' || (byte >= 0x80 && byte < 0xC0)) return std::nullopt;  // these continue a character of UTF-8
  return kOtherCharacter;
}

}  // namespace shoal::client::data
