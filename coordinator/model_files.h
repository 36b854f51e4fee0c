// Model versions as files: a safetensors file, optimizer state and the sealed copy that devices download.
//
//   FOLDER/JOB/VERSION-OBJECT.safetensors  .sealed  .state0  .state1 ...        (OBJECT in hex: no two tries share a
//   name)
//
// Files are never changed once finished. A version that no reference names is rubbish, and keep_only() sweeps it.
#pragma once

#include <memory>
#include <string>

#include "coordinator/file_system.h"
#include "coordinator/store.h"

namespace shoal::coordinator {

// A thread-safe store; its writers and readers belong to one thread at a time, and it outlives its writers. keep_only()
// spares what this process wrote and no call has named yet: its commit may be on the way. `files` outlives everything.
// Memory: two chunks a writer, none a reader.
Result<std::unique_ptr<ModelStore>> open_model_files(FileSystem& files, std::string folder);

}  // namespace shoal::coordinator
