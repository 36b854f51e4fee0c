// The trainer of small devices: compiles the model with what is trained of it, and steps in one block of memory.
#pragma once

#include <memory>

#include "client/training/engine/program.h"
#include "client/training/trainer.h"

namespace shoal::client::training::engine {

struct EngineOptions {
  // Of parameters, gradients, optimizer state, activations and workspaces together; 0: no limit. Training finds the
  // fastest way that fits (fit.h), or ends with kExhausted before its first step.
  std::size_t budget = 0;
  NormGradient norm_gradient = NormGradient::kExact;
};

// kInvalid for a model that does not fit together.
Result<std::unique_ptr<Trainer>> make_engine_trainer(const ModelDescription& model, const EngineOptions& options = {});

}  // namespace shoal::client::training::engine
