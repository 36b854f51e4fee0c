#include "base/rng.h"

#include <cmath>
#include <numbers>
#include <unordered_map>

#include "base/check.h"

namespace shoal {
namespace {

// SplitMix64's finalizer (Steele, Lea and Flood, 2014).
std::uint64_t mix(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

}  // namespace

std::uint64_t derive_seed(std::uint64_t seed, std::string_view name, std::uint64_t a, std::uint64_t b) {
  std::uint64_t h = 0xCBF29CE484222325u;  // FNV-1a over the name, then mixed with the numbers one by one
  for (unsigned char c : name) h = (h ^ c) * 0x100000001B3u;
  return mix(mix(mix(mix(seed) ^ h) ^ a) ^ b);
}

Stream::Stream(std::uint64_t seed, std::string_view name, std::uint64_t a, std::uint64_t b) {
  const std::uint64_t key = derive_seed(seed, name, a, b);
  key_ = {static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)};
}

std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> x, std::array<std::uint32_t, 2> k) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * x[0];
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * x[2];
    x = {static_cast<std::uint32_t>(p1 >> 32) ^ x[1] ^ k[0], static_cast<std::uint32_t>(p1),
         static_cast<std::uint32_t>(p0 >> 32) ^ x[3] ^ k[1], static_cast<std::uint32_t>(p0)};
    k = {k[0] + 0x9E3779B9u, k[1] + 0xBB67AE85u};
  }
  return x;
}

void Stream::refill() {
  block_ = philox(counter_, key_);
  used_ = 0;
  for (std::uint32_t& word : counter_)
    if (++word != 0) break;
}

std::uint32_t Stream::next32() {
  if (used_ == 4) refill();
  return block_[used_++];
}

std::uint64_t Stream::next64() {
  const std::uint64_t low = next32();
  return low | (std::uint64_t{next32()} << 32);
}

double Stream::uniform() { return static_cast<double>(next64() >> 11) * 0x1.0p-53; }

std::uint64_t Stream::below(std::uint64_t n) {
  SHOAL_CHECK(n > 0, "Stream::below needs n >= 1");
  const std::uint64_t reject_under = (0 - n) % n;  // 2^64 mod n values would be over-represented
  std::uint64_t x = next64();
  while (x < reject_under) x = next64();
  return x % n;
}

double Stream::normal() {
  if (has_spare_normal_) {
    has_spare_normal_ = false;
    return spare_normal_;
  }
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
  const double angle = 2.0 * std::numbers::pi * uniform();
  spare_normal_ = radius * std::sin(angle);
  has_spare_normal_ = true;
  return radius * std::cos(angle);
}

double Stream::exponential() { return -std::log(1.0 - uniform()); }

double Stream::gamma(double shape) {
  SHOAL_CHECK(shape > 0, "Stream::gamma needs shape > 0");
  if (shape < 1) return gamma(shape + 1) * std::pow(1.0 - uniform(), 1.0 / shape);
  const double d = shape - 1.0 / 3.0;
  const double c = 1.0 / std::sqrt(9.0 * d);
  for (;;) {
    const double x = normal();
    const double t = 1.0 + c * x;
    if (t <= 0) continue;
    const double v = t * t * t;
    if (std::log(1.0 - uniform()) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v;
  }
}

std::vector<double> Stream::dirichlet(std::size_t n, double concentration) {
  std::vector<double> p(n);
  double sum = 0;
  for (double& x : p) sum += x = gamma(concentration);
  // With a tiny concentration every gamma draw may underflow; one coordinate then takes all, as in the limit.
  if (!(sum > 0)) {
    p.assign(n, 0.0);
    p[below(n)] = sum = 1;
  }
  for (double& x : p) x /= sum;
  return p;
}

std::vector<std::uint64_t> Stream::sample(std::uint64_t n, std::uint64_t k) {
  SHOAL_CHECK(k <= n, "Stream::sample needs k <= n");
  std::vector<std::uint64_t> picked;
  picked.reserve(k);
  std::unordered_map<std::uint64_t, std::uint64_t> moved;  // a sparse Fisher-Yates array
  const auto at = [&](std::uint64_t i) {
    const auto found = moved.find(i);
    return found == moved.end() ? i : found->second;
  };
  for (std::uint64_t i = 0; i < k; ++i) {
    const std::uint64_t j = i + below(n - i);
    picked.push_back(at(j));
    moved[j] = at(i);
  }
  return picked;
}

}  // namespace shoal
