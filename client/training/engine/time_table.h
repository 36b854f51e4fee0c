// How long steps take on this machine, from what their instructions took: a latency table (as in Once-for-All, Cai et
// al. 2020), here of forward, backward and updates.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "base/result.h"
#include "base/time.h"
#include "client/training/engine/fit.h"

namespace shoal::client::training::engine {

// Of one model. Programs share most of their instructions, so most of them are timed with another program.
class TimeTable {
 public:
  // `clock` outlives the table.
  explicit TimeTable(const Clock& clock) : clock_(clock) {}

  // Seconds of one step of `batch` examples. `model` is as Program::load() takes it. Runs the program a few times
  // unless all of its instructions are known, on this thread, which has called use_one_thread(). kExhausted when there
  // is no memory for it.
  Result<double> step_seconds(Fitted& fitted, std::span<const float> model, std::uint32_t batch);

  std::uint64_t programs_run() const { return programs_run_; }

 private:
  const Clock& clock_;
  std::map<std::string, double> seconds_;  // by what the instruction is and the sizes that it works on
  std::uint64_t programs_run_ = 0;
};

}  // namespace shoal::client::training::engine
