// Local work behind one interface: from a base model and a device's own data to a delta, or to metrics.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "base/result.h"
#include "base/tensor_layout.h"
#include "client/data/dataset.h"
#include "client/training/model_description.h"
#include "protocol/facts.h"

namespace shoal::client::training {

struct TrainingOutcome {
  std::uint64_t steps = 0;  // made
  double loss = 0;          // mean over the steps
};

// One model on one thread. The same (base, data, spec, steps, seed) gives the same delta bits on one build and machine.
// Not thread-safe; several trainers may run on several threads, each single-threaded inside.
class Trainer {
 public:
  virtual ~Trainer() = default;

  // Layout of base and delta: the model description's.
  virtual const TensorLayout& layout() const = 0;

  // Local SGD from `base` on the rows `rows` of `data`; writes trained - base to `delta`. Both are layout().total() long.
  // `steps` 0 means spec.epochs epochs; the last batch of an epoch may be short. Batch order comes from
  // Stream(seed, "batches"). `between_steps` is called after each step (progress, throttle); when it returns false the work is given up with
  // kTimeout.
  virtual Result<TrainingOutcome> train(std::span<const float> base, const data::Dataset& data,
                                        std::span<const std::uint32_t> rows, const protocol::TrainingSpec& spec,
                                        std::uint32_t steps, std::uint64_t seed, std::span<float> delta,
                                        const std::function<bool()>& between_steps) = 0;

  virtual Result<protocol::EvaluationFacts> evaluate(std::span<const float> model, const data::Dataset& data,
                                                     std::span<const std::uint32_t> rows) = 0;

  // A freshly initialised model, as PyTorch's default initialisers draw it, from Stream(seed, tensor name).
  virtual Result<void> initialise(std::uint64_t seed, std::span<float> model) = 0;
};

// A trainer without learning: the delta is a cheap pure function of (base digest of a few values, seed, steps), bounded by
// 0.01. For golden digests, load and crash tests; any layout.
std::unique_ptr<Trainer> make_synthetic_trainer(TensorLayout layout);

// Loads the LibTorch trainer plugin (libshoal_torch.so beside the program, or SHOAL_PLUGIN_DIR) on first use. The library stays
// loaded. kUnavailable with what to install when it is not there.
Result<std::unique_ptr<Trainer>> make_torch_trainer(const ModelDescription& model);

}  // namespace shoal::client::training
