#include "coordinator/rocksdb/store.h"

#include <stdlib.h>

#include <filesystem>
#include <utility>

#include "coordinator/model_files.h"
#include "coordinator/rocksdb/journal.h"
#include "coordinator/segments.h"

namespace shoal::coordinator {
namespace {

std::string journal_folder(const std::string& path) { return path + "/journal"; }

// Of the journal's files, until destroyed.
class JournalCopy {
 public:
  static Result<std::unique_ptr<JournalCopy>> make(const std::string& journal) {
    namespace fs = std::filesystem;
    std::error_code error;
    std::string folder = fs::temp_directory_path(error).string() + "/shoal-journal-XXXXXX";
    if (error || ::mkdtemp(folder.data()) == nullptr)
      return Error(ErrorCode::kFailed, "cannot make a folder for temporary files like " + folder);
    std::unique_ptr<JournalCopy> copy(new JournalCopy(folder));
    fs::copy(journal, folder, error);
    if (error)
      return Error(error == std::errc::no_space_on_device ? ErrorCode::kExhausted : ErrorCode::kFailed,
                   "cannot copy " + journal + " to " + folder + ": " + error.message() +
                       "; TMPDIR names another folder for temporary files");
    return copy;
  }
  ~JournalCopy() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  JournalCopy(const JournalCopy&) = delete;
  JournalCopy& operator=(const JournalCopy&) = delete;
  const std::string& folder() const { return folder_; }

 private:
  explicit JournalCopy(std::string folder) : folder_(std::move(folder)) {}
  std::string folder_;
};

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
  // RocksDB's file that names the others, and the write log: without them there is no journal.
  for (const char* file : {"/CURRENT", "/writes.ring"})
    if (std::error_code error; !std::filesystem::exists(journal_folder(path) + file, error))
      return Error(ErrorCode::kNotFound,
                   "there is no coordinator's journal in " + path + "; name the data folder of a coordinator");
  SHOAL_TRY_ASSIGN(const auto lock, posix_files().lock(path));
  SHOAL_TRY_ASSIGN(const auto copy, JournalCopy::make(journal_folder(path)));
  JournalOptions options;
  options.folder = copy->folder();
  options.build = build;
  return visit_archive(options, start, event);
}

}  // namespace shoal::coordinator
