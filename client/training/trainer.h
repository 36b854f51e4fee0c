// Local work behind one interface: from a base model and a device's own data to a delta, or to metrics.
#pragma once

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

  // Of the model: its description's.
  virtual const TensorLayout& layout() const = 0;

  // Bytes that later calls may take for parameters, gradients, optimizer state, activations and workspaces together; 0:
  // no limit. What cannot be done in it ends with kExhausted before it has begun.
  virtual void set_budget(std::uint64_t bytes) { static_cast<void>(bytes); }

  // Local steps from `base`, layout().total() long, on the rows `rows` of `data`; writes trained - base to `delta`,
  // which holds what spec.plan trains (protocol/update_layout.h). `steps` 0 means spec.epochs epochs. Batches are those
  // of BatchOrder (batch_order.h). `before_step` (may be empty) is called before each step (progress, throttle); when
  // it returns false the work is given up with kTimeout. kInvalid for no rows, data of another shape or an unknown
  // plan; kFailed when the loss is no longer finite; kExhausted when memory ran out. After an error `delta` holds
  // nothing of use.
  virtual Result<TrainingOutcome> train(std::span<const float> base, const data::Dataset& data,
                                        std::span<const std::uint32_t> rows, const protocol::TrainingSpec& spec,
                                        std::uint32_t steps, std::uint64_t seed, std::span<float> delta,
                                        const std::function<bool()>& before_step) = 0;

  // Sums of `model` over `rows`; no rows give zeros. Errors as train's.
  virtual Result<protocol::EvaluationFacts> evaluate(std::span<const float> model, const data::Dataset& data,
                                                     std::span<const std::uint32_t> rows) = 0;
};

// A trainer without learning: the delta is a cheap pure function of (a few values of base, seed, steps), each
// coordinate within 0.01. For golden digests, load and crash tests; any layout; the same bits on every machine.
std::unique_ptr<Trainer> make_synthetic_trainer(TensorLayout layout);

// Loads the LibTorch trainer plugin (libshoal_torch.so) and makes a trainer of `model`. The file is looked for in
// `plugin_folder` when given, else beside the running program in ../lib and ../lib/shoal, then where it was installed.
// The library stays loaded. kUnavailable lists the places looked at and what to install; kInvalid for a plugin of
// another build or a model that does not fit together.
Result<std::unique_ptr<Trainer>> make_torch_trainer(const ModelDescription& model,
                                                    const std::string& plugin_folder = "");

}  // namespace shoal::client::training
