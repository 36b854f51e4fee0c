// The coordinator's data folder: opens journal (RocksDB), segments of update bodies and model files, for one process at
// a time.
//
//   PATH/LOCK      who uses the folder        PATH/journal/   RocksDB: events, snapshot, references, named tables
//   PATH/bodies/   segments and their keys    PATH/models/    a folder a job: safetensors, optimizer state, sealed
//   copies
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "coordinator/file_system.h"
#include "coordinator/store.h"

namespace shoal::coordinator {

struct StoreOptions {
  std::string path;                         // made when missing, 0700
  std::string build;                        // names the format of snapshots and events; state of another one is refused
  bool discard_open_rounds = false;         // begin anew instead of refusing: jobs and their rounds are forgotten
  bool archive_events = false;              // keep events after commits, for replay
  std::uint64_t archive_limit = 1'000'000;  // events kept at least; at most twice as many
  std::uint64_t segment_bytes = 256ull << 20;  // preallocated at a time for bodies
  std::uint64_t headroom_bytes =
      64ull << 20;              // bodies never take the last of the disk: the journal needs room to go on
  FileSystem* files = nullptr;  // for bodies, models and LOCK; nullptr is the operating system's. Not owned
};

// Destroyed in reverse order: the folder is given free last. The parts do not depend on each other.
struct Store {
  std::unique_ptr<FolderLock> lock;
  std::unique_ptr<Journal> journal;
  std::unique_ptr<BodyStore> bodies;
  std::unique_ptr<ModelStore> models;
};

// kUnavailable when another coordinator uses the folder (its pid is told); kInvalid when another build wrote a state
// that is not empty (with the way out); kExhausted when the disk is full; kCorrupt.
Result<Store> open_store(const StoreOptions& options);

// What archive_events kept, oldest first: a snapshot to begin with (empty: from nothing) and every event after it.
// Reads a folder that no coordinator uses, and leaves it as it is: RocksDB writes when it opens, so what is opened is a
// copy of the journal in the folder for temporary files. kNotFound where no coordinator kept a journal.
struct ArchiveStart {
  std::uint64_t sequence = 0;  // of the snapshot
  std::string snapshot;
};
Status read_archive(const std::string& path, const std::string& build,
                    const std::function<Status(const ArchiveStart&)>& start,
                    const std::function<Status(const JournalRecord&)>& event);

}  // namespace shoal::coordinator
