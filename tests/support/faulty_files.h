// A disk in memory that loses what was not synced, tears what it was writing, fills up, and fails on demand.
//
// As strict as POSIX allows: a file's contents survive by its own sync, its name by the folder's; of what was not
// synced any part survives, by the page. A sync that fails loses for good what it should have written, and the next one
// succeeds.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/rng.h"
#include "coordinator/file_system.h"

namespace shoal::tests {

enum class FileOperation : std::uint8_t { kCreate, kWrite, kAllocate, kSync, kRename, kRemove, kSyncFolder };

// Thread-safe.
class FaultyFiles final : public coordinator::FileSystem {
 public:
  explicit FaultyFiles(std::uint64_t seed);

  Result<std::unique_ptr<coordinator::File>> create(const std::string& path) override;
  Result<std::unique_ptr<coordinator::File>> open(const std::string& path) override;
  Status rename(const std::string& from, const std::string& to) override;
  Status remove(const std::string& path) override;
  Status make_folder(const std::string& path) override;
  Result<std::vector<std::string>> list(const std::string& folder) const override;
  Status sync_folder(const std::string& folder) override;
  Result<std::uint64_t> free_bytes(const std::string& folder) const override;
  Result<std::unique_ptr<coordinator::FolderLock>> lock(const std::string& folder) override;

  // The power fails during the n-th operation from now on: it and all later ones return errors.
  void cut_power_after(std::uint64_t operations);
  bool power_is_cut() const;
  // Power is back: only what was durable is there, and a part of what was not. Files opened before are dead.
  void crash();

  // Asked before every operation, under the disk's lock: an error, and the operation does not happen.
  void set_fault(std::function<std::optional<Error>(FileOperation, const std::string& path)> fault);
  // Of all files together.
  void set_capacity(std::uint64_t bytes);
  std::uint64_t operations() const;

  // For corruption: the file's bytes, as they are now and durable.
  std::vector<std::byte> contents(const std::string& path) const;
  void overwrite(const std::string& path, std::uint64_t offset, std::span<const std::byte> bytes);

 private:
  struct Inode;
  class OpenFile;
  class Lock;
  struct NameChange {
    std::string folder, removed;  // either name may be empty
    std::string added;
    std::shared_ptr<Inode> inode;
  };
  using Names = std::map<std::string, std::shared_ptr<Inode>>;

  // With mutex_ held.
  Status begin(FileOperation operation, const std::string& path);
  static void apply(const NameChange& change, Names& names);
  Status grow(Inode& inode, std::uint64_t size);
  void lose_unsynced(Inode& inode);

  mutable std::mutex mutex_;
  Stream random_;
  Names names_, durable_names_;
  std::vector<NameChange> changes_;  // of names, not durable
  std::set<std::string> folders_, locks_;
  std::function<std::optional<Error>(FileOperation, const std::string&)> fault_;
  std::uint64_t capacity_ = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t used_ = 0;
  std::uint64_t operations_ = 0, power_ends_ = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t life_ = 0;  // grows with every crash
};

}  // namespace shoal::tests
