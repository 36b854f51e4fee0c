#include "coordinator/rocksdb/database.h"

#include <rocksdb/cache.h>
#include <rocksdb/options.h>
#include <rocksdb/table.h>

#include <utility>

namespace shoal::coordinator {
namespace {

rocksdb::DBOptions database_options(rocksdb::Env* env) {
  rocksdb::DBOptions options;
  if (env) options.env = env;
  options.create_if_missing = true;
  options.create_missing_column_families = true;
  options.max_background_jobs = 1;
  options.max_open_files = 64;
  options.writable_file_max_buffer_size = 256 << 10;
  options.db_write_buffer_size = 2 << 20;
  // Durability is the write log's. What is flushed must still be whole batches, and nothing is flushed on the way out:
  // closing and opening again is how we get going when the disk was full.
  options.atomic_flush = true;
  options.avoid_flush_during_shutdown = true;
  options.avoid_flush_during_recovery = true;
  options.stats_dump_period_sec = 0;
  options.stats_persist_period_sec = 0;
  options.info_log_level = rocksdb::WARN_LEVEL;
  options.max_log_file_size = 1 << 20;
  options.keep_log_file_num = 2;
  return options;
}

std::vector<rocksdb::ColumnFamilyDescriptor> families() {
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(256 << 10);
  table.cache_index_and_filter_blocks = true;
  rocksdb::ColumnFamilyOptions options;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  options.write_buffer_size = 1 << 20;  // more than the write log holds: it decides when to flush
  options.max_write_buffer_number = 2;
  options.target_file_size_base = 4 << 20;
  options.compression = rocksdb::kNoCompression;
  std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
  for (const char* name : {"default", "events", "models", "tables", "archive"}) descriptors.emplace_back(name, options);
  return descriptors;
}

}  // namespace

Error database_error(std::string attempted, const rocksdb::Status& status) {
  ErrorCode code = ErrorCode::kFailed;
  if (status.IsNoSpace()) code = ErrorCode::kExhausted;
  if (status.IsCorruption()) code = ErrorCode::kCorrupt;
  return Error(code, status.ToString()).because_of_this(std::move(attempted));
}

std::string big_endian(std::uint64_t number) {
  std::string bytes(8, '\0');
  for (int i = 7; i >= 0; --i, number >>= 8) bytes[static_cast<std::size_t>(i)] = static_cast<char>(number & 0xFF);
  return bytes;
}

std::uint64_t from_big_endian(std::string_view bytes) {
  if (bytes.size() != 8) return 0;
  std::uint64_t number = 0;
  for (char c : bytes) number = number << 8 | static_cast<unsigned char>(c);
  return number;
}

Database::Database(std::unique_ptr<rocksdb::DB> db, std::vector<rocksdb::ColumnFamilyHandle*> handles)
    : db_(std::move(db)), handles_(std::move(handles)) {}

Database::~Database() {
  for (rocksdb::ColumnFamilyHandle* handle : handles_) db_->DestroyColumnFamilyHandle(handle).PermitUncheckedError();
  // Everything that matters was synced when it was written.
  db_->Close().PermitUncheckedError();
}

Result<std::unique_ptr<Database>> Database::open(const std::string& folder, rocksdb::Env* env, FileSystem* files) {
  rocksdb::DB* db = nullptr;
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  const rocksdb::Status status = rocksdb::DB::Open(database_options(env), folder, families(), &handles, &db);
  if (!status.ok()) return database_error("cannot open the journal in " + folder, status);
  std::unique_ptr<Database> database(new Database(std::unique_ptr<rocksdb::DB>(db), std::move(handles)));
  // Over what RocksDB has flushed already: batches only put and delete, so that all of them in order give the last
  // state again.
  // The log is older than any row.
  SHOAL_TRY_ASSIGN(const bool empty, database->empty());
  auto log = WriteLog::open(files ? *files : posix_files(), folder, empty, [&](std::string_view payload) {
    rocksdb::WriteBatch batch{std::string(payload)};
    return database->apply(batch);
  });
  if (!log.ok()) return std::move(log).error().because_of_this("cannot open the journal in " + folder);
  database->log_ = std::move(*log);
  return database;
}

Status Database::write(rocksdb::WriteBatch& batch) {
  const std::string& payload = batch.Data();
  if (!log_->has_room(payload.size())) {
    SHOAL_TRY(flush());
    SHOAL_TRY(log_->restart());
  }
  if (log_->has_room(payload.size())) {
    if (Status logged = log_->append(payload); !logged.ok())
      return std::move(logged).error().because_of_this("cannot write to the journal");
    return apply(batch);
  }
  SHOAL_TRY(apply(batch));  // larger than the whole log
  return flush();
}

Status Database::apply(rocksdb::WriteBatch& batch) {
  rocksdb::WriteOptions options;
  options.disableWAL = true;
  const rocksdb::Status status = db_->Write(options, &batch);
  if (!status.ok()) return database_error("cannot write to the journal", status);
  return {};
}

Status Database::flush() {
  const rocksdb::Status status = db_->Flush({}, handles_);
  if (!status.ok()) return database_error("cannot write tables of the journal", status);
  return {};
}

Result<bool> Database::empty() const {
  for (rocksdb::ColumnFamilyHandle* handle : handles_) {
    const std::unique_ptr<rocksdb::Iterator> row(db_->NewIterator({}, handle));
    row->SeekToFirst();
    if (!row->status().ok()) return database_error("cannot read the journal", row->status());
    if (row->Valid()) return false;
  }
  return true;
}

Result<std::optional<std::string>> Database::get(Family family, std::string_view key) const {
  std::string value;
  const rocksdb::Status status = db_->Get({}, (*this)[family], rocksdb::Slice(key.data(), key.size()), &value);
  if (status.IsNotFound()) return std::optional<std::string>();
  if (!status.ok()) return database_error("cannot read the journal", status);
  return std::optional(std::move(value));
}

std::unique_ptr<rocksdb::Iterator> Database::rows(Family family) const {
  return std::unique_ptr<rocksdb::Iterator>(db_->NewIterator({}, (*this)[family]));
}

}  // namespace shoal::coordinator
