// The trainer of small devices: compiles the model with what is trained of it, and steps in one block of memory.
#pragma once

#include <memory>

#include "client/training/trainer.h"

namespace shoal::client::training::engine {

// kInvalid for a model that does not fit together.
Result<std::unique_ptr<Trainer>> make_engine_trainer(const ModelDescription& model);

}  // namespace shoal::client::training::engine
