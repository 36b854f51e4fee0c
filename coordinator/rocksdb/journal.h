// The journal on RocksDB: events, the snapshot of the last commit, references to models, and named tables.
//
//   column family   key                       value
//   default         "commit"                  sequence, time and Machine::save() of the last commit
//   events          sequence, big endian      JournalRecord
//   models          job, version, big endian  ModelRef
//   tables          table 0x00 key            as put
//   archive         sequence, big endian      a snapshot from which events are kept (archive_events only)
//
// Every write is one batch, synced in the write log (write_log.h). Writing anything twice gives the same rows, so that
// a caller who was told of an error, and cannot know how much of it is durable, may simply try again.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "coordinator/rocksdb/store.h"

namespace rocksdb {
class Env;
}

namespace shoal::coordinator {

struct JournalOptions {
  std::string folder;  // of RocksDB alone
  std::string build;   // as in StoreOptions, with the next three
  bool discard_open_rounds = false;
  bool archive_events = false;
  std::uint64_t archive_limit = 1'000'000;
  rocksdb::Env* env = nullptr;  // nullptr is the operating system's. Not owned
  FileSystem* files = nullptr;  // for the write log beside the tables; likewise
};

// Memory: about 24 MB at most, and two background threads that serve all databases of the process. After an error (a
// full disk) the database is closed, and opened again by the next call.
Result<std::unique_ptr<Journal>> open_journal(JournalOptions options);

// See read_archive() in store.h.
Status visit_archive(const JournalOptions& options, const std::function<Status(const ArchiveStart&)>& start,
                     const std::function<Status(const JournalRecord&)>& event);

}  // namespace shoal::coordinator
