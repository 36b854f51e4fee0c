// Models between a user's safetensors file and the model store: version 0 of a job in, any version out.
#pragma once

#include <string>

#include "aggregation/server_optimizer.h"
#include "coordinator/store.h"

namespace shoal::coordinator {

// Streams the file into the store as version 0 of `job`, after its header was checked: float32 tensors, sizes that
// agree, finite values, tensors that each of `plans` (a plan table) can train. kNotFound, kInvalid or kCorrupt, naming
// the file.
Result<ModelRef> import_model(const std::string& path, JobId job, const std::string& plans,
                              const aggregation::ServerOptimizerOptions& optimizer, ModelStore& models);

// The safetensors file of a version, written to `path`.
Status export_model(const ModelRef& model, const ModelStore& models, const std::string& path);

}  // namespace shoal::coordinator
