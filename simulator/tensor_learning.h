// Learning with tensors: real or synthetic local training on worker threads, folds by the service's own fold over
// in-memory stores.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/tensor_layout.h"
#include "client/data/dataset.h"
#include "client/data/partition.h"
#include "coordinator/job_spec.h"
#include "simulator/learning.h"
#include "simulator/worker_pool.h"

namespace shoal::simulator {

// What is learnt, from what. Immutable once made.
struct LearningTask {
  coordinator::JobSpec job;
  TensorLayout layout;
  std::map<std::string, std::string> metadata;  // of the model file
  std::vector<float> initial;                   // layout.total() long
  std::vector<std::uint64_t> budgets;           // of the devices, in bytes; empty: no limits
  client::data::Dataset train;
  client::data::Dataset test;                   // central test set; may be empty
  std::vector<client::data::RowSplit> devices;  // rows of `train`, by device number - 1
};

// `task` must outlive the result. `workers` threads train, and fold. Errors of the trainer factory, kInvalid where the
// job's limits leave no room for exact sums.
Result<std::unique_ptr<Learning>> make_tensor_learning(const LearningTask& task, unsigned workers,
                                                       const TrainerFactory& factory);

}  // namespace shoal::simulator
