// The f32 scheme: an update as its float32 values, little endian, in layout order.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace shoal::compression {

// `bytes` is four times as long as `values`.
void encode_f32(std::span<const float> values, std::span<std::byte> bytes);
void decode_f32(std::span<const std::byte> bytes, std::span<float> values);

enum class ValueVerdict : std::uint8_t { kFine, kNotFinite, kOutOfBound };

// Judges a body on its way in, span by span in order: is every value finite and at most `bound` in magnitude? The L2
// norm falls out of the same pass, summed in a fixed order, so that it is the same however the body was cut.
class F32Check {
 public:
  static constexpr std::size_t kLanes = 16;  // value i is added up in lane i mod kLanes

  // `bound` > 0. Values above the largest float32 that is not above `bound` are out of it.
  explicit F32Check(double bound);

  // Whole values only. Not finite wins over out of bound.
  void add(std::span<const std::byte> bytes);
  // Of everything so far.
  ValueVerdict verdict() const;
  // Infinite or NaN where the verdict is kNotFinite.
  double norm() const;
  // The largest magnitude so far.
  float largest() const;

 private:
  std::int32_t bound_bits_;                     // of the float32 bound; magnitudes of floats compare like their bits
  std::size_t lane_ = 0;                        // of the next value
  std::array<std::int32_t, kLanes> largest_{};  // bits of the largest magnitude so far
  std::array<double, kLanes> squares_{};
};

}  // namespace shoal::compression
