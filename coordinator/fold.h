// The fold: one tile-wise pass that reads every update once and makes the next model.
//
// What the updates' plans train of the model is cut in columns of 64 Ki floats, as chunks are. A worker takes a column,
// adds each update's part of it exactly, applies the server optimizer and hands the result on in order; what lies
// between is copied. Memory: workers x a column's sums and
// scratch, about 2 MiB each, whatever the model and however many updates. The bits do not depend on the workers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "aggregation/exact_sum.h"
#include "aggregation/server_optimizer.h"
#include "coordinator/action.h"
#include "coordinator/store.h"
#include "protocol/update_layout.h"

namespace shoal::coordinator {

// One worker's memory for reading chunks; grows to a chunk once.
struct ChunkScratch {
  std::vector<std::byte> sealed, plain;
};

// Where a fold reads updates: float32 deltas in the order of their plan's layout, one chunk at a time. Thread-safe.
class UpdateSource {
 public:
  virtual ~UpdateSource() = default;
  // Plaintext bytes of the whole body.
  virtual Result<std::uint64_t> bytes(AssignmentId id) const = 0;
  // The chunk's plaintext, valid until the scratch is used again and while the body is held.
  virtual Result<std::span<const std::byte>> read(AssignmentId id, std::uint32_t chunk,
                                                  ChunkScratch& scratch) const = 0;
};

// Reads one sealed chunk of a body and opens it. kCorrupt when it is cut short or does not open.
Result<std::span<const std::byte>> open_chunk(const BodyStore& bodies, AssignmentId id,
                                              const protocol::ObjectInfo& object, std::uint32_t chunk,
                                              ChunkScratch& scratch);

// The bodies of a store, opened with the keys they came with.
class SealedUpdates final : public UpdateSource {
 public:
  explicit SealedUpdates(const BodyStore& bodies) : bodies_(bodies) {}
  Result<std::uint64_t> bytes(AssignmentId id) const override;
  Result<std::span<const std::byte>> read(AssignmentId id, std::uint32_t chunk, ChunkScratch& scratch) const override;

 private:
  const BodyStore& bodies_;
};

// What stays the same for a job.
struct FoldOptions {
  std::uint64_t floats = 0;                   // of the model: layout.total()
  std::vector<protocol::UpdateLayout> plans;  // what updates hold, by Fold::Entry::plan
  aggregation::SumScale scale;
  aggregation::ServerOptimizerOptions optimizer;
  int workers = 1;
};

struct FoldResult {
  ModelRef model;
  double norm = 0;  // L2 norm of the model's change, summed in a fixed order
};

// Makes fold.version from `previous`, whose safetensors header is taken over as it is. `writer` was created for the
// version, with aggregation::state_arrays() arrays; version 0 needs no optimizer state, it begins with initial_state().
// Errors name the assignment whose body is missing, of another size, or does not open. Blocks; runs on options.workers
// threads.
Result<FoldResult> fold_updates(const action::Fold& fold, const FoldOptions& options, const UpdateSource& updates,
                                const ModelReader& previous, std::unique_ptr<ModelWriter> writer);

}  // namespace shoal::coordinator
