// All randomness: counter-based streams (Philox 4x32-10, Salmon et al., SC 2011) forked from one seed by name.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace shoal {

// A stream is a pure function of (seed, name, a, b) and of how many numbers were drawn from it, so the same
// draw is made on every platform, thread count and standard library. Copyable; a copy continues alike.
// Not for secrets: keys come from OpenSSL.
class Stream {
 public:
  Stream(std::uint64_t seed, std::string_view name, std::uint64_t a = 0, std::uint64_t b = 0);

  std::uint32_t next32();
  std::uint64_t next64();
  double uniform();                      // [0, 1), 53 bits
  std::uint64_t below(std::uint64_t n);  // uniform on 0..n-1 without bias; n >= 1
  double normal();                       // mean 0, variance 1 (Box-Muller, both halves used)
  double exponential();                  // mean 1
  double gamma(double shape);            // scale 1; shape > 0 (Marsaglia and Tsang, 2000)
  std::vector<double> dirichlet(std::size_t n, double concentration);

  template <class T>
  void shuffle(std::span<T> items) {
    for (std::size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[below(i)]);
  }

  // k distinct indices of 0..n-1 in draw order; k <= n. O(k) memory.
  std::vector<std::uint64_t> sample(std::uint64_t n, std::uint64_t k);

 private:
  void refill();

  std::array<std::uint32_t, 2> key_;
  std::array<std::uint32_t, 4> counter_{};
  std::array<std::uint32_t, 4> block_{};
  unsigned used_ = 4;
  bool has_spare_normal_ = false;
  double spare_normal_ = 0;
};

// The block cipher behind a Stream: Philox 4x32 with 10 rounds.
std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key);

// A 64-bit mix of seed, name and two numbers; the key of a Stream, also handy as a derived seed.
std::uint64_t derive_seed(std::uint64_t seed, std::string_view name, std::uint64_t a = 0, std::uint64_t b = 0);

}  // namespace shoal
