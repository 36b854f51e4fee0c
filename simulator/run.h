// One run from its options to its folder: the loop around the engine, with metrics, checkpoints and the picture at the
// end.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/digest.h"
#include "base/result.h"
#include "base/time.h"
#include "simulator/experiment.h"
#include "simulator/run_folder.h"

namespace shoal::simulator {

enum class RunEnd { kCompleted, kTargetReached, kInterrupted };

struct RunSummary {
  RunEnd end = RunEnd::kCompleted;
  Version version = 0;
  Digest digest;             // of the final model
  double accuracy = 0;       // of the newest evaluation; 0 without one
  Time at{};                 // virtual
  Duration wall{};           // of this process
  std::uint64_t events = 0;  // stepped through the coordinator's machine
  Traffic traffic;
  double utilisation = 0;  // of the fleet's compute
};

struct RunRequest {
  ExperimentOptions options;
  std::string plugin_folder;  // of the LibTorch trainer; empty: the usual places
  bool resume = false;        // continue from the folder's checkpoint
};

// What a program may show while it runs.
class RunListener {
 public:
  virtual ~RunListener() = default;
  // A version was committed; `wall` since this process began the run.
  virtual void on_progress(const RoundRecord& record, Duration wall) = 0;
  // Something out of the ordinary, in one line.
  virtual void on_notice(std::string_view line) = 0;
};

// Blocks until the job ends, the target is reached, or `stop` turns true (then the folder keeps a checkpoint). Errors
// as make_world's; kFailed when the job fails or cannot go on.
Result<RunSummary> run_experiment(const RunRequest& request, RunFolder& folder, const Clock& clock,
                                  RunListener& listener, const std::atomic<bool>& stop);

}  // namespace shoal::simulator
