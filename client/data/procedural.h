// A naturally federated image set that the program makes itself: ten glyphs, drawn by writers who each have their own
// hand.
//
// A writer has a slant, a width and height, a stroke width, an ink strength, a paper tone, a wobble and favourite
// classes (label skew); every example adds its own jitter. Images are 28 x 28, one channel, 0 is paper. Every pixel is
// a pure function of (seed, split, writer, index), made with basic arithmetic only, hence bit-identical on every
// machine.
#pragma once

#include <cstdint>
#include <span>

#include "base/result.h"
#include "client/data/dataset.h"

namespace shoal::client::data {

inline constexpr std::uint32_t kGlyphEdge = 28;
inline constexpr std::uint32_t kGlyphClasses = 10;

struct ProceduralOptions {
  std::uint64_t seed = 1;
  std::uint32_t first_writer = 0;
  std::uint32_t writers = 100;   // first_writer, first_writer + 1, ...
  std::uint32_t examples = 100;  // of each writer and split
  bool test = false;             // other examples by the same hands
};

// Draws example `index` of a writer into `pixels` (28 x 28, row-major) and returns its label.
std::uint32_t draw_glyph(std::uint64_t seed, bool test, std::uint32_t writer, std::uint32_t index,
                         std::span<std::uint8_t> pixels);

// All examples of the chosen writers, writer by writer; the writer is the group. kInvalid beyond 2^32 rows.
Result<Dataset> make_procedural(const ProceduralOptions& options);

}  // namespace shoal::client::data
