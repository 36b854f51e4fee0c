// The trainer of small devices: compiles the model with what is trained of it, and steps in one block of memory.
#pragma once

#include <memory>

#include "client/training/engine/program.h"
#include "client/training/trainer.h"

namespace shoal::client::training::engine {

struct EngineOptions {
  // Until set_budget() says otherwise. Training finds the fastest way that fits (fit.h).
  std::size_t budget = 0;
  NormGradient norm_gradient = NormGradient::kExact;
  // Compiled programs that wait for more work of their kind, each with its arena. With 1 a budget is that of the whole
  // process: training and evaluation never hold memory at once.
  std::size_t programs = 2;
};

// kInvalid for a model that does not fit together.
Result<std::unique_ptr<Trainer>> make_engine_trainer(const ModelDescription& model, const EngineOptions& options = {});

}  // namespace shoal::client::training::engine
