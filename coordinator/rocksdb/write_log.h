// The database's write-ahead log: one file of a fixed size, written over and over.
//
//   log := record*     record := length u32, epoch u64, SHA-256(epoch, offset, payload), payload
//
// RocksDB's own log grows with every write, and a file system has to note each growth: a sync of it costs a commit of
// the file system's journal (about 4 ms on an SSD), one of space that was written before costs a few tenths. So the
// log's space is written once, with zeros, and then only overwritten. An epoch is a random number of one filling:
// records of earlier ones do not verify.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "coordinator/file_system.h"

namespace shoal::coordinator {

// Owner thread only. After an error the object is of no use any more: open the file again.
class WriteLog {
 public:
  // Makes the file when it is missing, and calls `replay` for every payload since the last restart(), in order. These
  // are durable, whatever went wrong when they were written. `files` outlives the log. kExhausted: no room for a new
  // file.
  static Result<std::unique_ptr<WriteLog>> open(FileSystem& files, const std::string& folder,
                                                const std::function<Status(std::string_view payload)>& replay);

  bool has_room(std::size_t payload_bytes) const;
  // Durable on return. There must be room.
  Status append(std::string_view payload);
  // Everything in the log is durable elsewhere: the next record takes the place of the first.
  Status restart();

 private:
  explicit WriteLog(std::unique_ptr<File> file) : file_(std::move(file)) {}
  Status fill();
  Status replay(const std::function<Status(std::string_view)>& replay);

  std::unique_ptr<File> file_;
  std::uint64_t epoch_ = 0, end_ = 0;
};

}  // namespace shoal::coordinator
