#include "coordinator/rocksdb/journal.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/archive.h"
#include "coordinator/rocksdb/database.h"

namespace shoal::coordinator {
namespace {

constexpr std::string_view kCommitKey = "commit";
constexpr std::string_view kSettings = kSettingsTable, kBuild = "build";

struct CommitRow {
  std::uint64_t sequence = 0;
  Time now{};
  std::string snapshot;
  template <class A>
  void fields(A& a) {
    a(sequence, now, snapshot);
  }
};

rocksdb::Slice slice(std::string_view text) { return rocksdb::Slice(text.data(), text.size()); }
std::string model_key(JobId job, Version version) { return big_endian(job.value) + big_endian(version); }
std::string table_key(std::string_view table, std::string_view key) {
  return std::string(table).append(1, '\0').append(key);
}

// RocksDB reports problems of a batch in memory by status; there are none but programming errors.
void must(const rocksdb::Status& status) { SHOAL_CHECK(status.ok(), status.ToString()); }

template <class T>
Result<T> decoded(const rocksdb::Slice& value, const char* what) {
  auto decoded = decode_state<T>(value.ToStringView());
  if (!decoded)
    return Error(ErrorCode::kCorrupt,
                 std::string("the journal has ") + what + " that cannot be read; restore the folder from a backup");
  return std::move(*decoded);
}

Result<CommitRow> last_commit(const Database& db) {
  SHOAL_TRY_ASSIGN(const std::optional<std::string> row, db.get(Family::kCommit, kCommitKey));
  if (!row) return CommitRow{};
  return decoded<CommitRow>(*row, "a snapshot");
}

// Calls `visit(sequence, row)` for each row of a family whose keys are sequences, from `first` on.
template <class Visit>
Status each_from(const Database& db, Family family, std::uint64_t first, Visit visit) {
  const auto row = db.rows(family);
  for (row->Seek(big_endian(first)); row->Valid(); row->Next())
    SHOAL_TRY(visit(from_big_endian(row->key().ToStringView()), row->value()));
  if (!row->status().ok()) return database_error("cannot read the journal", row->status());
  return {};
}

class RocksJournal final : public Journal {
 public:
  explicit RocksJournal(JournalOptions options) : options_(std::move(options)) {}
  Status open();

  Result<Recovered> recover() override;
  Status append(std::span<const JournalRecord> records) override;
  Status commit(const Commit& commit) override;
  Status put(std::string_view table, std::string_view key, std::string_view value) override;
  Result<std::optional<std::string>> get(std::string_view table, std::string_view key) override;
  Result<std::vector<std::pair<std::string, std::string>>> scan(std::string_view table) override;

 private:
  Result<Database*> database();
  Status write(Database& db, rocksdb::WriteBatch& batch);
  Status forget_events(Database& db, const Commit& commit, const CommitRow& previous, rocksdb::WriteBatch& batch) const;
  Status keep_events(Database& db, const Commit& commit, const CommitRow& previous, rocksdb::WriteBatch& batch) const;
  Status check_build(Database& db);

  const JournalOptions options_;
  std::unique_ptr<Database> db_;  // null when it could not be opened again
  bool failed_ = false;           // a write failed: to be opened again, by the next call (iterators may still be open)
};

Result<Database*> RocksJournal::database() {
  if (failed_) db_.reset();
  if (!db_) {
    failed_ = false;
    SHOAL_TRY_ASSIGN(db_, Database::open(options_.folder, options_.env, options_.files));
  }
  return db_.get();
}

// After an error RocksDB refuses further writes until it is told that the cause is gone; opening it again asks the disk
// itself, and forgets a batch of which only a part was written.
Status RocksJournal::write(Database& db, rocksdb::WriteBatch& batch) {
  Status status = db.write(batch);
  failed_ = !status.ok();
  return status;
}

// ---- opening ----

Status RocksJournal::open() {
  SHOAL_TRY_ASSIGN(Database * db, database());
  return check_build(*db);
}

Status RocksJournal::check_build(Database& db) {
  const std::string key = table_key(kSettings, kBuild);
  SHOAL_TRY_ASSIGN(const std::optional<std::string> build, db.get(Family::kTables, key));
  if (build == options_.build && !options_.discard_open_rounds) return {};
  const auto event = db.rows(Family::kEvents);
  event->SeekToFirst();
  SHOAL_TRY_ASSIGN(const std::optional<std::string> snapshot, db.get(Family::kCommit, kCommitKey));
  const bool empty = !event->Valid() && !snapshot;
  SHOAL_TRY_ASSIGN(const std::optional<std::string> quiet, db.get(Family::kTables, table_key(kSettings, kQuietKey)));
  if (quiet && !event->Valid() && !options_.discard_open_rounds) {
    rocksdb::WriteBatch taken_over;  // no round was open when it stopped: the snapshot goes over
    must(taken_over.Put(db[Family::kTables], key, options_.build));
    return write(db, taken_over);
  }
  if (!empty && !options_.discard_open_rounds)
    return Error(
        ErrorCode::kInvalid,
        "the state in " + options_.folder + " was written by the build " + build.value_or("of unknown name") +
            " with a round open, and this is " + options_.build +
            "; start the old build, stop its jobs (shoal job stop) or let them end, stop it, then start this one; or "
            "forget its jobs with --discard-open-rounds");
  rocksdb::WriteBatch batch;
  must(batch.Delete(db[Family::kCommit], slice(kCommitKey)));
  must(batch.DeleteRange(db[Family::kEvents], big_endian(0), big_endian(~std::uint64_t{0})));
  must(batch.DeleteRange(db[Family::kArchive], big_endian(0), big_endian(~std::uint64_t{0})));
  must(batch.Put(db[Family::kTables], key, options_.build));
  return write(db, batch);
}

Result<Recovered> RocksJournal::recover() {
  SHOAL_TRY_ASSIGN(Database * db, database());
  SHOAL_TRY_ASSIGN(CommitRow commit, last_commit(*db));
  Recovered recovered;
  recovered.sequence = commit.sequence;
  recovered.snapshot = std::move(commit.snapshot);
  recovered.now = commit.now;
  SHOAL_TRY(
      each_from(*db, Family::kEvents, commit.sequence + 1, [&](std::uint64_t, const rocksdb::Slice& row) -> Status {
        SHOAL_TRY_ASSIGN(JournalRecord record, decoded<JournalRecord>(row, "an event"));
        recovered.now = std::max(recovered.now, record.now);
        recovered.records.push_back(std::move(record));
        return {};
      }));
  const auto row = db->rows(Family::kModels);
  for (row->SeekToFirst(); row->Valid(); row->Next()) {
    SHOAL_TRY_ASSIGN(ModelRef ref, decoded<ModelRef>(row->value(), "a reference to a model"));
    recovered.models.push_back(std::move(ref));
  }
  if (!row->status().ok()) return database_error("cannot read the journal", row->status());
  return recovered;
}

// ---- events ----

Status RocksJournal::append(std::span<const JournalRecord> records) {
  SHOAL_TRY_ASSIGN(Database * db, database());
  rocksdb::WriteBatch batch;
  for (const JournalRecord& record : records)
    must(batch.Put((*db)[Family::kEvents], big_endian(record.sequence), encode_state(record)));
  return write(*db, batch);
}

Status RocksJournal::commit(const Commit& commit) {
  SHOAL_TRY_ASSIGN(Database * db, database());
  SHOAL_TRY_ASSIGN(const CommitRow previous, last_commit(*db));
  rocksdb::WriteBatch batch;
  if (options_.archive_events) {
    SHOAL_TRY(keep_events(*db, commit, previous, batch));
  } else {
    SHOAL_TRY(forget_events(*db, commit, previous, batch));
  }
  must(batch.Put((*db)[Family::kCommit], slice(kCommitKey),
                 encode_state(CommitRow{commit.sequence, commit.now, commit.snapshot})));
  for (const ModelRef& ref : commit.added)
    must(batch.Put((*db)[Family::kModels], model_key(ref.job, ref.version), encode_state(ref)));
  for (const auto& [job, version] : commit.dropped) must(batch.Delete((*db)[Family::kModels], model_key(job, version)));
  return write(*db, batch);
}

Status RocksJournal::forget_events(Database& db, const Commit& commit, const CommitRow& previous,
                                   rocksdb::WriteBatch& batch) const {
  // From where the last commit stopped: ranges that overlapped would pile up until a compaction. Unless there was an
  // archive.
  std::uint64_t first = previous.sequence + 1;
  SHOAL_TRY(each_from(db, Family::kArchive, 0, [&](std::uint64_t sequence, const rocksdb::Slice&) -> Status {
    must(batch.Delete(db[Family::kArchive], big_endian(sequence)));
    first = 0;
    return {};
  }));
  must(batch.DeleteRange(db[Family::kEvents], big_endian(first), big_endian(commit.sequence + 1)));
  return {};
}

// Two snapshots bound the archive: once archive_limit events follow the newer one, this commit's takes its place, and
// the events before the then older one go.
Status RocksJournal::keep_events(Database& db, const Commit& commit, const CommitRow& previous,
                                 rocksdb::WriteBatch& batch) const {
  for (const JournalRecord& record : commit.records)
    must(batch.Put(db[Family::kEvents], big_endian(record.sequence), encode_state(record)));
  std::vector<std::uint64_t> starts;
  SHOAL_TRY(each_from(db, Family::kArchive, 0, [&](std::uint64_t sequence, const rocksdb::Slice&) -> Status {
    starts.push_back(sequence);
    return {};
  }));
  if (starts.empty()) {
    must(batch.Put(db[Family::kArchive], big_endian(previous.sequence), previous.snapshot));
    starts.push_back(previous.sequence);
  }
  if (commit.sequence - starts.back() < options_.archive_limit) return {};
  must(batch.Put(db[Family::kArchive], big_endian(commit.sequence), commit.snapshot));
  if (starts.size() < 2) return {};
  must(batch.Delete(db[Family::kArchive], big_endian(starts.front())));
  must(batch.DeleteRange(db[Family::kEvents], big_endian(starts.front()), big_endian(starts.back() + 1)));
  return {};
}

// ---- tables ----

Status RocksJournal::put(std::string_view table, std::string_view key, std::string_view value) {
  SHOAL_TRY_ASSIGN(Database * db, database());
  rocksdb::WriteBatch batch;
  if (value.empty()) {
    must(batch.Delete((*db)[Family::kTables], table_key(table, key)));
  } else {
    must(batch.Put((*db)[Family::kTables], table_key(table, key), slice(value)));
  }
  return write(*db, batch);
}

Result<std::optional<std::string>> RocksJournal::get(std::string_view table, std::string_view key) {
  SHOAL_TRY_ASSIGN(Database * db, database());
  return db->get(Family::kTables, table_key(table, key));
}

Result<std::vector<std::pair<std::string, std::string>>> RocksJournal::scan(std::string_view table) {
  SHOAL_TRY_ASSIGN(Database * db, database());
  const std::string prefix = table_key(table, "");
  std::vector<std::pair<std::string, std::string>> found;
  const auto row = db->rows(Family::kTables);
  for (row->Seek(prefix); row->Valid() && row->key().starts_with(prefix); row->Next())
    found.emplace_back(row->key().ToString().substr(prefix.size()), row->value().ToString());
  if (!row->status().ok()) return database_error("cannot read the table " + std::string(table), row->status());
  return found;
}

}  // namespace

Result<std::unique_ptr<Journal>> open_journal(JournalOptions options) {
  auto journal = std::make_unique<RocksJournal>(std::move(options));
  SHOAL_TRY(journal->open());
  return std::unique_ptr<Journal>(std::move(journal));
}

Status visit_archive(const JournalOptions& options, const std::function<Status(const ArchiveStart&)>& start,
                     const std::function<Status(const JournalRecord&)>& event) {
  SHOAL_TRY_ASSIGN(const auto db, Database::open(options.folder, options.env, options.files));
  SHOAL_TRY_ASSIGN(const std::optional<std::string> build, db->get(Family::kTables, table_key(kSettings, kBuild)));
  if (build != options.build)
    return Error(ErrorCode::kInvalid, "the events in " + options.folder + " were written by the build " +
                                          build.value_or("of unknown name") +
                                          "; only that build can replay them, and this is " + options.build);
  const auto row = db->rows(Family::kArchive);
  row->SeekToFirst();
  ArchiveStart first;
  if (row->Valid()) {
    first = {from_big_endian(row->key().ToStringView()), row->value().ToString()};
  } else {
    // Nothing was archived; what followed the last commit is there in any case.
    SHOAL_TRY_ASSIGN(CommitRow commit, last_commit(*db));
    first = {commit.sequence, std::move(commit.snapshot)};
  }
  SHOAL_TRY(start(first));
  return each_from(*db, Family::kEvents, first.sequence + 1, [&](std::uint64_t, const rocksdb::Slice& value) -> Status {
    SHOAL_TRY_ASSIGN(const JournalRecord record, decoded<JournalRecord>(value, "an event"));
    return event(record);
  });
}

}  // namespace shoal::coordinator
