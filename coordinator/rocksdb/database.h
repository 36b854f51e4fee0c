// An open RocksDB with the journal's column families and its memory limits; the only place that configures RocksDB.
#pragma once

#include <rocksdb/db.h>
#include <rocksdb/write_batch.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "coordinator/rocksdb/write_log.h"

namespace shoal::coordinator {

enum class Family : std::uint8_t { kCommit = 0, kEvents, kModels, kTables, kArchive };

// kExhausted when the disk is full, kCorrupt, kUnavailable when the database is locked, else kFailed.
Error database_error(std::string attempted, const rocksdb::Status& status);

// Eight bytes whose order is the number's.
std::string big_endian(std::uint64_t number);
std::uint64_t from_big_endian(std::string_view bytes);  // 0 unless 8 bytes long

class Database {
 public:
  // Null stands for the operating system's; neither is owned.
  static Result<std::unique_ptr<Database>> open(const std::string& folder, rocksdb::Env* env, FileSystem* files);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  rocksdb::ColumnFamilyHandle* operator[](Family family) const { return handles_[static_cast<std::size_t>(family)]; }
  // Durable on return.
  Status write(rocksdb::WriteBatch& batch);
  // nullopt when there is no such row.
  Result<std::optional<std::string>> get(Family family, std::string_view key) const;
  std::unique_ptr<rocksdb::Iterator> rows(Family family) const;

 private:
  Database(std::unique_ptr<rocksdb::DB> db, std::vector<rocksdb::ColumnFamilyHandle*> handles);

  Status apply(rocksdb::WriteBatch& batch);
  Status flush();
  Result<bool> empty() const;

  std::unique_ptr<rocksdb::DB> db_;
  std::vector<rocksdb::ColumnFamilyHandle*> handles_;
  std::unique_ptr<WriteLog> log_;
};

}  // namespace shoal::coordinator
