// The machine's clock, from zero when the object is made. For programs, tests and benches: what is in a library is
// given the time.
#pragma once

#include <chrono>

#include "base/time.h"

namespace shoal {

class SteadyClock final : public Clock {
 public:
  Time now() const override { return Time(std::chrono::steady_clock::now() - begin_); }

 private:
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

}  // namespace shoal
