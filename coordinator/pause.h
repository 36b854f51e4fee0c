// How long to wait before trying again what has just failed, the longer the more often it failed in a row.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/time.h"

namespace shoal::coordinator {

inline constexpr Duration kFirstPause = std::chrono::seconds(1);
inline constexpr Duration kLongestPause = kFirstPause * 512;  // about eight and a half minutes

// `in_a_row` is at least 1.
constexpr Duration pause_after(std::uint32_t in_a_row) {
  return std::min(kLongestPause, kFirstPause * (std::int64_t{1} << std::min(in_a_row - 1, 31u)));
}

}  // namespace shoal::coordinator
