// Time as the machines see it: nanoseconds since the coordinator's data folder (or the simulated world) began.
#pragma once

#include <chrono>
#include <cstdint>

namespace shoal {

using Duration = std::chrono::nanoseconds;

// Not a clock that can be read: `now` is always passed in. Monotonic, also across restarts.
struct ServiceTime {
  using rep = Duration::rep;
  using period = Duration::period;
  using duration = Duration;
  static constexpr bool is_steady = true;
};
using Time = std::chrono::time_point<ServiceTime, Duration>;

constexpr Time kNever = Time::max();

constexpr double to_seconds(Duration d) { return std::chrono::duration<double>(d).count(); }

// Saturates at about 290 years, so that a policy may multiply estimates freely. NaN gives zero.
constexpr Duration from_seconds(double seconds) {
  constexpr double kLimit = 9.2e9;
  if (!(seconds > -kLimit)) return seconds < 0 ? Duration::min() : Duration::zero();
  if (seconds > kLimit) return Duration::max();
  return Duration(static_cast<std::int64_t>(seconds * 1e9));
}

// `t + d` without overflow: anything beyond the end of time is kNever.
constexpr Time saturating_add(Time t, Duration d) {
  if (d > Duration::zero() && t > kNever - d) return kNever;
  return t + d;
}

// Where a program reads time. Library code gets `Time now` as an argument; only shells hold a Clock.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual Time now() const = 0;
};

}  // namespace shoal
