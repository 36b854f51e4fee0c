#include "compression/f32.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/vector_clones.h"

namespace shoal::compression {
namespace {

static_assert(std::endian::native == std::endian::little, "values are copied as they lie in memory");

constexpr std::int32_t kMagnitude = 0x7fffffff;
constexpr std::int32_t kInfinity = 0x7f800000;  // every NaN is above it
constexpr std::size_t kLanes = F32Check::kLanes;

// Bytes may lie at any address: they are copied to registers.
template <class T>
inline T load(const std::byte* bytes, std::size_t index) {
  T value;
  std::memcpy(&value, bytes + index * sizeof(T), sizeof(T));
  return value;
}

inline void scan_values(const std::byte* bytes, std::size_t values, std::int32_t* __restrict largest,
                        double* __restrict squares) {
  for (std::size_t j = 0; j < values; ++j) {
    const auto value = static_cast<double>(load<float>(bytes, j));
    largest[j] = std::max(largest[j], load<std::int32_t>(bytes, j) & kMagnitude);
    squares[j] += value * value;
  }
}

SHOAL_VECTOR_CLONES
void scan_rows(const std::byte* bytes, std::size_t rows, std::int32_t* largest, double* squares) {
  // Copies, since bytes may alias anything and the lanes are to stay in registers.
  std::int32_t l[kLanes];
  double s[kLanes];
  std::copy_n(largest, kLanes, l);
  std::copy_n(squares, kLanes, s);
  for (std::size_t r = 0; r < rows; ++r) {
    const std::byte* row = bytes + r * kLanes * sizeof(float);
    for (std::size_t j = 0; j < kLanes; ++j) l[j] = std::max(l[j], load<std::int32_t>(row, j) & kMagnitude);
    for (std::size_t j = 0; j < kLanes; ++j) {
      const auto value = static_cast<double>(load<float>(row, j));
      s[j] += value * value;
    }
  }
  std::copy_n(l, kLanes, largest);
  std::copy_n(s, kLanes, squares);
}

}  // namespace

void encode_f32(std::span<const float> values, std::span<std::byte> bytes) {
  SHOAL_CHECK(bytes.size() == values.size_bytes(), "a float32 takes four bytes");
  if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
}

void decode_f32(std::span<const std::byte> bytes, std::span<float> values) {
  SHOAL_CHECK(bytes.size() == values.size_bytes(), "a float32 takes four bytes");
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
}

F32Check::F32Check(double bound) {
  SHOAL_CHECK(bound > 0, "the bound of an update is positive");
  constexpr double kLargest = std::numeric_limits<float>::max();
  float below = static_cast<float>(std::min(bound, kLargest));
  if (below > bound) below = std::nextafterf(below, 0.0f);
  bound_bits_ = std::bit_cast<std::int32_t>(below);
}

void F32Check::add(std::span<const std::byte> bytes) {
  SHOAL_CHECK(bytes.size() % sizeof(float) == 0, "values are not cut");
  std::size_t values = bytes.size() / sizeof(float);
  const std::byte* next = bytes.data();
  const auto scan_part = [&](std::size_t count) {
    scan_values(next, count, &largest_[lane_], &squares_[lane_]);
    next += count * sizeof(float);
    values -= count;
    lane_ = (lane_ + count) % kLanes;
  };
  if (lane_ != 0) scan_part(std::min(values, kLanes - lane_));
  const std::size_t rows = values / kLanes;
  scan_rows(next, rows, largest_.data(), squares_.data());
  next += rows * kLanes * sizeof(float);
  values -= rows * kLanes;
  scan_part(values);
}

float F32Check::largest() const { return std::bit_cast<float>(*std::max_element(largest_.begin(), largest_.end())); }

ValueVerdict F32Check::verdict() const {
  const auto largest_bits = std::bit_cast<std::int32_t>(largest());
  if (largest_bits >= kInfinity) return ValueVerdict::kNotFinite;
  return largest_bits > bound_bits_ ? ValueVerdict::kOutOfBound : ValueVerdict::kFine;
}

double F32Check::norm() const {
  double sum = 0;
  for (double s : squares_) sum += s;
  return std::sqrt(sum);
}

}  // namespace shoal::compression
