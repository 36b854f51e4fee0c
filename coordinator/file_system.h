// The few file operations that bodies and models need, as an interface: so that tests can lose, tear and refuse writes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace shoal::coordinator {

// An open file; closed by its destructor. Thread-safe. Errors: kExhausted when the disk is full, kFailed otherwise.
class File {
 public:
  virtual ~File() = default;
  // All bytes or an error. Durable only after sync().
  virtual Status write(std::uint64_t offset, std::span<const std::byte> bytes) = 0;
  // The number of bytes read: fewer than asked for only at the end of the file.
  virtual Result<std::size_t> read(std::uint64_t offset, std::span<std::byte> out) const = 0;
  virtual Result<std::uint64_t> size() const = 0;
  // The contents are durable on return; the file's name is not, until sync_folder(). After an error nothing that was
  // not synced before may be relied on, even when a later sync() succeeds: the kernel drops what it could not write.
  virtual Status sync() = 0;
  // Begins to write out whole pages of the range, without waiting. A hint.
  virtual void start_writeback(std::uint64_t offset, std::uint64_t length) = 0;
  // Allocates zeroed disk space, so that writes within it cannot fail for want of it.
  virtual Status allocate(std::uint64_t offset, std::uint64_t length) = 0;
  // Gives the space of the range back, and what was in it reads as zeros. A hint where the file system cannot.
  virtual void punch(std::uint64_t offset, std::uint64_t length) = 0;
};

// Exclusive use of a folder, until destroyed or until the process ends.
class FolderLock {
 public:
  virtual ~FolderLock() = default;
};

// Thread-safe. Paths are as the process sees them.
class FileSystem {
 public:
  virtual ~FileSystem() = default;
  // A new, empty file, 0600. kFailed when it exists.
  virtual Result<std::unique_ptr<File>> create(const std::string& path) = 0;
  // For reading and writing. kNotFound.
  virtual Result<std::unique_ptr<File>> open(const std::string& path) = 0;
  virtual Status rename(const std::string& from, const std::string& to) = 0;
  // A file, or an empty folder. No error when there is none.
  virtual Status remove(const std::string& path) = 0;
  // With its parents, 0700; no error when it exists. The names are durable.
  virtual Status make_folder(const std::string& path) = 0;
  // Names within the folder, sorted; empty when there is no folder.
  virtual Result<std::vector<std::string>> list(const std::string& folder) const = 0;
  // Names created, renamed and removed in the folder are durable on return.
  virtual Status sync_folder(const std::string& folder) = 0;
  virtual Result<std::uint64_t> free_bytes(const std::string& folder) const = 0;
  // kUnavailable, with the pid, when another process (or another lock of this one) has it.
  virtual Result<std::unique_ptr<FolderLock>> lock(const std::string& folder) = 0;
};

// The operating system's.
FileSystem& posix_files();

}  // namespace shoal::coordinator
