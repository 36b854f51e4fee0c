// Codecs: float spans to bytes and back, tile by tile.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"

namespace shoal::compression {

// Floats in a tile: the most that is decoded at once, into the caller's scratch.
inline constexpr std::size_t kTileFloats = 4096;

}  // namespace shoal::compression
