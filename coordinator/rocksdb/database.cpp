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
  options.db_write_buffer_size = 16 << 20;
  options.max_total_wal_size = 32 << 20;
  // Opening must not need room for a flush: it is how we get going again when the disk was full.
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
  table.block_cache = rocksdb::NewLRUCache(4 << 20);
  table.cache_index_and_filter_blocks = true;
  rocksdb::ColumnFamilyOptions options;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  options.write_buffer_size = 4 << 20;
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

Result<std::unique_ptr<Database>> Database::open(const std::string& folder, Mode mode, rocksdb::Env* env) {
  rocksdb::DB* db = nullptr;
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  const rocksdb::DBOptions options = database_options(env);
  const rocksdb::Status status = mode == Mode::kReadOnly
                                     ? rocksdb::DB::OpenForReadOnly(options, folder, families(), &handles, &db)
                                     : rocksdb::DB::Open(options, folder, families(), &handles, &db);
  if (!status.ok()) return database_error("cannot open the journal in " + folder, status);
  return std::unique_ptr<Database>(new Database(std::unique_ptr<rocksdb::DB>(db), std::move(handles)));
}

Status Database::write(rocksdb::WriteBatch& batch) {
  rocksdb::WriteOptions options;
  options.sync = true;
  const rocksdb::Status status = db_->Write(options, &batch);
  if (!status.ok()) return database_error("cannot write to the journal", status);
  return {};
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
