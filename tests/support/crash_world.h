// A whole job over a store that crashes: devices that offer their updates until they are answered, a coordinator that
// dies at chosen store operations and recovers. The devices' world outlives every crash, as it does in life.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "coordinator/durable_machine.h"
#include "coordinator/fold.h"
#include "coordinator/store.h"

namespace shoal::coordinator::testing {

// The stores of one life of the coordinator.
struct OpenStores {
  Journal* journal = nullptr;
  BodyStore* bodies = nullptr;
  ModelStore* models = nullptr;
};

struct CrashWorldOptions {
  JobSpec spec;
  std::uint64_t seed = 1;
  std::uint64_t devices = 6;
  std::uint64_t floats = 300;
  int fold_workers = 1;
  std::function<OpenStores()> open;  // begins a life
  std::function<void()> crash;       // ends one: what was not synced is gone
};

// What the devices and an observer know at the end.
struct CrashOutcome {
  std::vector<std::string> problems;  // broken promises; empty when all is well
  std::uint64_t crashes = 0;
  std::uint64_t acknowledged = 0;                      // receipts that devices hold
  std::vector<float> model;                            // of the last version
  std::map<Version, std::vector<AssignmentId>> folds;  // as committed
};

// Runs the job to its end. Store operations that return an error count as the moment of a crash.
CrashOutcome run_crash_world(const CrashWorldOptions& options);

}  // namespace shoal::coordinator::testing
