// Durations and sizes as people write them: "90s", "1.5h", "64MiB", "250KB".
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"

namespace shoal {

// A number of bytes that is read and printed with a unit.
struct Bytes {
  std::uint64_t count = 0;

  friend constexpr auto operator<=>(const Bytes&, const Bytes&) = default;
  template <class Archive>
  void fields(Archive& a) {
    a(count);
  }
};

// Units ns, us, ms, s, min, h, d; a bare "0" is allowed. Not negative.
Result<Duration> parse_duration(std::string_view text);
// Units B, KB, MB, GB, TB (powers of 1000), KiB, MiB, GiB, TiB (powers of 1024).
Result<Bytes> parse_bytes(std::string_view text);

// The shortest exact text that parses back to the same value: "90s", "64MiB".
std::string format_duration(Duration d);
std::string format_bytes(Bytes b);

// For people, three significant digits: "1m 30s", "2.4 MB".
std::string human_duration(Duration d);
std::string human_bytes(std::uint64_t bytes);

}  // namespace shoal
