// A whole federation in one process, for benchmarks: the real service over real sockets, and real client daemons.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "coordinator/history.h"
#include "coordinator/job_spec.h"

namespace shoal::bench {

struct FederationOptions {
  std::string folder;         // of the real store; a folder within it is made and removed
  std::string client_folder;  // likewise, of the clients' state: devices' disks are not the coordinator's
  bool real_store = true;     // else the coordinator's stores are in memory
  std::size_t clients = 10;
  std::uint64_t floats = 100000;  // of the model
  coordinator::JobSpec spec;
};

struct FederationResult {
  std::vector<double> round_seconds;  // between the closes of successive rounds
  double wall_seconds = 0, cpu_seconds = 0;
  std::uint64_t bulk_bytes_received = 0, bulk_bytes_sent = 0;
};

// Runs the job to its end with synthetic trainers. Exits the process with a message when something fails.
FederationResult run_federation(const FederationOptions& options);

}  // namespace shoal::bench
