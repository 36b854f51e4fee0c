// The database's write-ahead log: one file of a fixed size, written over and over.
//
//   log    := slot, zeros to 4096, slot, zeros to 8192, record*
//   slot   := number u64, epoch u64, SHA-256("slot", number, epoch)
//   record := length u32, epoch u64, SHA-256(epoch, offset, payload), payload
//
// RocksDB's own log grows with every write, and a file system has to note each growth: a sync of it costs a commit of
// the file system's journal (about 4 ms on an SSD), one of space that was written before costs a few tenths. So the
// log's space is written once, with zeros, and then only overwritten. An epoch is a random number of one filling:
// records of earlier ones do not verify. The valid slot with the higher number names the epoch; a restart writes the
// other one.
//
// Each record is synced before the next is written, so a crash can tear the last one only. A record that does not
// verify and has a later one of its epoch behind it is damage, and so is a slot that does not verify unless the crash
// came while a full log was restarted. Damage is an error: what comes after it was acknowledged.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/file_system.h"

namespace shoal::coordinator {

// What the bytes of a log say.
struct LogContents {
  std::uint64_t number = 0, epoch = 0;  // of the newest slot
  std::uint64_t end = 0;                // of the last record
  std::vector<std::string_view> payloads;
};

// kCorrupt with `path` and the offset of the damage.
Result<LogContents> read_log(std::span<const std::byte> log, const std::string& path);

// Owner thread only. After an error the object is of no use any more: open the file again.
class WriteLog {
 public:
  // Calls `replay` for every payload since the last restart(), in order. These are durable, whatever went wrong when
  // they were written. `files` outlives the log. A missing file is made if it `may_create` one, else it is damage.
  // kCorrupt, with file and offset; kExhausted: no room for a new file.
  static Result<std::unique_ptr<WriteLog>> open(FileSystem& files, const std::string& folder, bool may_create,
                                                const std::function<Status(std::string_view payload)>& replay);

  bool has_room(std::size_t payload_bytes) const;
  // Durable on return. There must be room.
  Status append(std::string_view payload);
  // Everything in the log is durable elsewhere: the next record takes the place of the first.
  Status restart();

 private:
  WriteLog(std::unique_ptr<File> file, std::string path) : file_(std::move(file)), path_(std::move(path)) {}
  Status replay(const std::function<Status(std::string_view)>& replay);

  std::unique_ptr<File> file_;
  std::string path_;
  std::uint64_t number_ = 0, epoch_ = 0, end_ = 0;  // as in LogContents
};

}  // namespace shoal::coordinator
