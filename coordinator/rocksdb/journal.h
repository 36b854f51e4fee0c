// The journal on RocksDB: events, the snapshot of the last commit, references to models, and named tables.
//
//   column family   key                       value
//   default         "commit"                  sequence, time and Machine::save() of the last commit
//   events          sequence, big endian      JournalRecord
//   models          job, version, big endian  ModelRef
//   tables          table 0x00 key            as put
//   archive         sequence, big endian      a snapshot from which events are kept (archive_events only)
//
// Every write is one synced batch. Writing anything twice gives the same rows, so that a caller who was told of an error, and
// cannot know how much of it is durable, may simply try again.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "coordinator/store.h"

namespace rocksdb {
class Env;
}

namespace shoal::coordinator {

struct JournalOptions {
  std::string folder;                    // of RocksDB alone
  bool archive_events = false;           // keep events after commits
  std::uint64_t archive_limit = 1'000'000;  // of them, at least; at most twice as many
  rocksdb::Env* env = nullptr;           // nullptr is the operating system's. Not owned
};

// Memory: about 24 MB at most, two background threads that serve all journals of the process. After an error (a full disk) the
// database is closed, and opened again by the next call.
Result<std::unique_ptr<Journal>> open_journal(const JournalOptions& options);

// The way past a state that this build cannot read: events, snapshot and archive go; models and tables stay.
Status discard_state(const JournalOptions& options);

// See read_archive() in store.h.
Status visit_archive(const JournalOptions& options, const std::function<Status(std::uint64_t sequence, const std::string& snapshot)>& start,
                     const std::function<Status(const JournalRecord&)>& event);

}  // namespace shoal::coordinator
