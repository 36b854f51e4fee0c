// Large files at offsets, and folders whose entries are durable; small files are protocol/durable_file.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/result.h"

namespace shoal::client {

// An open file descriptor, closed with the object. Reading is thread-safe.
class File {
 public:
  static Result<File> open_to_read(const std::string& path);
  // Made if absent, mode 0600; what it holds is kept.
  static Result<File> open_to_write(const std::string& path);
  ~File();
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;

  const std::string& path() const { return path_; }
  Result<std::uint64_t> size() const;
  // Exactly out.size() bytes, or kCorrupt.
  Status read_at(std::uint64_t offset, std::span<std::byte> out) const;
  // kExhausted when the disk is full.
  Status write_at(std::uint64_t offset, std::span<const std::byte> bytes);
  Status truncate(std::uint64_t size);
  // Everything written is on the disk when it returns.
  Status sync();

 private:
  File(int descriptor, std::string path) : descriptor_(descriptor), path_(std::move(path)) {}
  int descriptor_ = -1;
  std::string path_;
};

// Made with its parents, mode 0700.
Status make_folder(const std::string& path);
// Entries made, renamed or removed in the folder are on the disk when it returns.
Status sync_folder(const std::string& path);
// Both names lie in `folder`, which is synced.
Status rename_durably(const std::string& folder, const std::string& from, const std::string& to);
// Removing what is not there succeeds.
Status remove_file(const std::string& path);
// The same, synced.
Status remove_durably(const std::string& folder, const std::string& name);

}  // namespace shoal::client
