#include "coordinator/rocksdb/store.h"

#include <utility>

#include "coordinator/model_files.h"
#include "coordinator/rocksdb/journal.h"
#include "coordinator/segments.h"

namespace shoal::coordinator {
namespace {

std::string journal_folder(const std::string& path) { return path + "/journal"; }

}  // namespace

Result<Store> open_store(const StoreOptions& options) {
  FileSystem& files = options.files ? *options.files : posix_files();
  Store store;
  SHOAL_TRY(files.make_folder(options.path));
  SHOAL_TRY_ASSIGN(store.lock, files.lock(options.path));
  // Made here, since RocksDB would let others read it.
  SHOAL_TRY(files.make_folder(journal_folder(options.path)));
  SHOAL_TRY_ASSIGN(store.journal, open_journal({.folder = journal_folder(options.path),
                                                .build = options.build,
                                                .discard_open_rounds = options.discard_open_rounds,
                                                .archive_events = options.archive_events,
                                                .archive_limit = options.archive_limit}));
  SHOAL_TRY_ASSIGN(store.bodies, open_segments(files, {.folder = options.path + "/bodies",
                                                       .segment_bytes = options.segment_bytes,
                                                       .headroom_bytes = options.headroom_bytes}));
  SHOAL_TRY_ASSIGN(store.models, open_model_files(files, options.path + "/models"));
  return store;
}

Status read_archive(const std::string& path, const std::string& build,
                    const std::function<Status(const ArchiveStart&)>& start,
                    const std::function<Status(const JournalRecord&)>& event) {
  JournalOptions options;
  options.folder = journal_folder(path);
  options.build = build;
  return visit_archive(options, start, event);
}

}  // namespace shoal::coordinator
