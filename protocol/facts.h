// What devices say about themselves and their work: plain numbers, never a sample and never tensor bytes.
#pragma once

#include <cstdint>
#include <string>

#include "base/digest.h"
#include "base/ids.h"
#include "base/time.h"
#include "protocol/training_spec.h"

namespace shoal::protocol {

enum class TaskKind : std::uint8_t { kTrain = 0, kEvaluate = 1 };

// Said at every session's start. Bounded by the job before it is believed.
struct DeviceFacts {
  std::uint64_t train_samples = 0;
  std::uint64_t test_samples = 0;
  std::uint64_t memory_budget = 0;  // bytes it may use for training; 0 = not stated

  template <class Archive>
  void fields(Archive& a) {
    a(train_samples, test_samples, memory_budget);
  }
  friend bool operator==(const DeviceFacts&, const DeviceFacts&) = default;
};

// One unit of work for one device. An update is named by its assignment's id.
struct Assignment {
  AssignmentId id;
  JobId job;
  TaskKind kind = TaskKind::kTrain;
  Version version = 0;      // the base model
  std::uint32_t steps = 0;  // local steps; 0 = training.epochs epochs
  std::uint64_t seed = 0;   // of the client's draws (batch order)
  Duration lease{};         // from now; after it the assignment is void
  TrainingSpec training;
  double bound = 0;               // largest |coordinate| of the update that is admitted
  std::uint64_t max_samples = 0;  // largest sample count that is admitted (w_max)
  std::uint32_t max_updates = 0;  // most updates that are ever folded together (n_max)

  template <class Archive>
  void fields(Archive& a) {
    a(id, job, kind, version, steps, seed, lease, training, bound, max_samples, max_updates);
  }
  friend bool operator==(const Assignment&, const Assignment&) = default;
};

// The finished work: delta = trained - base, in the model's layout.
struct UpdateFacts {
  Digest digest;              // SHA-256 of the sealed object's tags, in order (in simulation: of the floats)
  std::uint64_t bytes = 0;    // of the encoded update
  std::uint64_t samples = 0;  // training examples of the device (n_i)
  std::uint64_t steps = 0;    // local steps that were made (tau_i)
  double loss = 0;            // mean training loss over those steps
  double norm = 0;            // L2 norm of the decoded delta; filled in by the check, not believed
  Duration trained{};         // time spent training

  template <class Archive>
  void fields(Archive& a) {
    a(digest, bytes, samples, steps, loss, norm, trained);
  }
  friend bool operator==(const UpdateFacts&, const UpdateFacts&) = default;
};

// Sums over a device's own test split.
struct EvaluationFacts {
  std::uint64_t samples = 0;
  std::uint64_t correct = 0;
  double loss_sum = 0;

  template <class Archive>
  void fields(Archive& a) {
    a(samples, correct, loss_sum);
  }
  friend bool operator==(const EvaluationFacts&, const EvaluationFacts&) = default;
};

}  // namespace shoal::protocol
