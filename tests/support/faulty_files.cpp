#include "tests/support/faulty_files.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace shoal::tests {
namespace {

constexpr std::uint64_t kPage = 4096, kSector = 512;

std::string folder_of(const std::string& path) { return path.substr(0, path.rfind('/')); }

Error power_is_off() { return Error(ErrorCode::kFailed, "the power is off"); }

}  // namespace

struct FaultyFiles::Inode {
  struct Change {
    std::uint64_t offset;
    std::vector<std::byte> bytes;
  };
  std::vector<std::byte> now, durable;
  std::vector<Change> unsynced;
};

class FaultyFiles::OpenFile final : public coordinator::File {
 public:
  OpenFile(FaultyFiles& disk, std::string path, std::shared_ptr<Inode> inode)
      : disk_(disk), path_(std::move(path)), inode_(std::move(inode)), life_(disk.life_) {}

  Status write(std::uint64_t offset, std::span<const std::byte> bytes) override {
    const std::lock_guard lock(disk_.mutex_);
    if (life_ != disk_.life_) return power_is_off();
    const bool had_power = disk_.operations_ < disk_.power_ends_;
    Status begun = disk_.begin(FileOperation::kWrite, path_);
    // The write during which the power fails may leave anything of itself.
    const bool torn = !begun.ok() && had_power && disk_.operations_ >= disk_.power_ends_;
    if (!begun.ok() && !torn) return begun;
    SHOAL_TRY(disk_.grow(*inode_, offset + bytes.size()));
    std::copy(bytes.begin(), bytes.end(), inode_->now.begin() + static_cast<std::ptrdiff_t>(offset));
    inode_->unsynced.push_back({offset, {bytes.begin(), bytes.end()}});
    return begun;
  }

  Result<std::size_t> read(std::uint64_t offset, std::span<std::byte> out) const override {
    const std::lock_guard lock(disk_.mutex_);
    if (life_ != disk_.life_) return power_is_off();
    const std::uint64_t size = inode_->now.size();
    const std::size_t bytes = offset < size ? std::min<std::uint64_t>(out.size(), size - offset) : 0;
    std::copy_n(inode_->now.begin() + static_cast<std::ptrdiff_t>(std::min(offset, size)), bytes, out.begin());
    return bytes;
  }

  Result<std::uint64_t> size() const override {
    const std::lock_guard lock(disk_.mutex_);
    return std::uint64_t{inode_->now.size()};
  }

  Status sync() override {
    const std::lock_guard lock(disk_.mutex_);
    if (life_ != disk_.life_) return power_is_off();
    Status begun = disk_.begin(FileOperation::kSync, path_);
    if (begun.ok()) {
      // Change by change: what an earlier sync lost is not in `unsynced` any more.
      inode_->durable.resize(inode_->now.size());
      for (const Inode::Change& change : std::exchange(inode_->unsynced, {}))
        std::copy(change.bytes.begin(), change.bytes.end(),
                  inode_->durable.begin() + static_cast<std::ptrdiff_t>(change.offset));
    } else if (disk_.operations_ < disk_.power_ends_) {
      inode_->unsynced.clear();
    }
    return begun;
  }

  void start_writeback(std::uint64_t, std::uint64_t) override {}

  Status allocate(std::uint64_t offset, std::uint64_t length) override {
    const std::lock_guard lock(disk_.mutex_);
    if (life_ != disk_.life_) return power_is_off();
    SHOAL_TRY(disk_.begin(FileOperation::kAllocate, path_));
    return disk_.grow(*inode_, offset + length);
  }

  void punch(std::uint64_t offset, std::uint64_t length) override {
    static_cast<void>(write(offset, std::vector<std::byte>(length)));
  }

 private:
  FaultyFiles& disk_;
  const std::string path_;
  const std::shared_ptr<Inode> inode_;
  const std::uint64_t life_;
};

class FaultyFiles::Lock final : public coordinator::FolderLock {
 public:
  Lock(FaultyFiles& disk, std::string folder) : disk_(disk), folder_(std::move(folder)), life_(disk.life_) {}
  ~Lock() override {
    const std::lock_guard lock(disk_.mutex_);
    if (life_ == disk_.life_) disk_.locks_.erase(folder_);
  }

 private:
  FaultyFiles& disk_;
  const std::string folder_;
  const std::uint64_t life_;
};

FaultyFiles::FaultyFiles(std::uint64_t seed) : random_(seed, "faulty files") {}

// ---- files and names ----

Status FaultyFiles::begin(FileOperation operation, const std::string& path) {
  if (++operations_ >= power_ends_) return power_is_off();
  if (fault_)
    if (auto error = fault_(operation, path)) return std::move(*error);
  return {};
}

Status FaultyFiles::grow(Inode& inode, std::uint64_t size) {
  if (size <= inode.now.size()) return {};
  if (size - inode.now.size() > capacity_ - std::min(used_, capacity_))
    return Error(ErrorCode::kExhausted, "the disk in memory is full");
  used_ += size - inode.now.size();
  inode.now.resize(size);
  return {};
}

void FaultyFiles::apply(const NameChange& change, Names& names) {
  if (!change.removed.empty()) names.erase(change.removed);
  if (!change.added.empty()) names.insert_or_assign(change.added, change.inode);
}

Result<std::unique_ptr<coordinator::File>> FaultyFiles::create(const std::string& path) {
  const std::lock_guard lock(mutex_);
  SHOAL_TRY(begin(FileOperation::kCreate, path));
  if (names_.contains(path)) return Error(ErrorCode::kFailed, "cannot create " + path + ": it exists");
  if (!folders_.contains(folder_of(path)))
    return Error(ErrorCode::kNotFound, "cannot create " + path + ": there is no such folder");
  const auto inode = std::make_shared<Inode>();
  changes_.push_back({.folder = folder_of(path), .removed = "", .added = path, .inode = inode});
  apply(changes_.back(), names_);
  return std::unique_ptr<coordinator::File>(std::make_unique<OpenFile>(*this, path, inode));
}

Result<std::unique_ptr<coordinator::File>> FaultyFiles::open(const std::string& path) {
  const std::lock_guard lock(mutex_);
  const auto found = names_.find(path);
  if (found == names_.end()) return Error(ErrorCode::kNotFound, "there is no file " + path);
  return std::unique_ptr<coordinator::File>(std::make_unique<OpenFile>(*this, path, found->second));
}

Status FaultyFiles::rename(const std::string& from, const std::string& to) {
  const std::lock_guard lock(mutex_);
  SHOAL_TRY(begin(FileOperation::kRename, from));
  const auto found = names_.find(from);
  if (found == names_.end()) return Error(ErrorCode::kNotFound, "there is no file " + from);
  SHOAL_CHECK(folder_of(from) == folder_of(to), "renaming is modelled within a folder");
  if (const auto replaced = names_.find(to); replaced != names_.end()) used_ -= replaced->second->now.size();
  changes_.push_back({.folder = folder_of(from), .removed = from, .added = to, .inode = found->second});
  apply(changes_.back(), names_);
  return {};
}

Status FaultyFiles::remove(const std::string& path) {
  const std::lock_guard lock(mutex_);
  SHOAL_TRY(begin(FileOperation::kRemove, path));
  folders_.erase(path);
  const auto found = names_.find(path);
  if (found == names_.end()) return {};
  used_ -= found->second->now.size();
  changes_.push_back({.folder = folder_of(path), .removed = path, .added = "", .inode = nullptr});
  apply(changes_.back(), names_);
  return {};
}

Status FaultyFiles::make_folder(const std::string& path) {
  const std::lock_guard lock(mutex_);
  for (std::size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    folders_.insert(path.substr(0, end));
    if (end == std::string::npos) return {};
  }
}

Result<std::vector<std::string>> FaultyFiles::list(const std::string& folder) const {
  const std::lock_guard lock(mutex_);
  std::set<std::string> found;
  for (const std::string& other : folders_)
    if (folder_of(other) == folder && other != folder) found.insert(other.substr(folder.size() + 1));
  for (const auto& [path, inode] : names_)
    if (folder_of(path) == folder) found.insert(path.substr(folder.size() + 1));
  return std::vector<std::string>(found.begin(), found.end());
}

Status FaultyFiles::sync_folder(const std::string& folder) {
  const std::lock_guard lock(mutex_);
  SHOAL_TRY(begin(FileOperation::kSyncFolder, folder));
  std::erase_if(changes_, [&](const NameChange& change) {
    if (change.folder != folder) return false;
    apply(change, durable_names_);
    return true;
  });
  return {};
}

Result<std::uint64_t> FaultyFiles::free_bytes(const std::string&) const {
  const std::lock_guard lock(mutex_);
  return capacity_ - std::min(used_, capacity_);
}

Result<std::unique_ptr<coordinator::FolderLock>> FaultyFiles::lock(const std::string& folder) {
  const std::lock_guard lock(mutex_);
  if (!locks_.insert(folder).second) return Error(ErrorCode::kUnavailable, "another process uses the folder " + folder);
  return std::unique_ptr<coordinator::FolderLock>(std::make_unique<Lock>(*this, folder));
}

// ---- faults ----

void FaultyFiles::cut_power_after(std::uint64_t operations) {
  const std::lock_guard lock(mutex_);
  power_ends_ = operations_ + operations;
}

bool FaultyFiles::power_is_cut() const {
  const std::lock_guard lock(mutex_);
  return operations_ >= power_ends_;
}

void FaultyFiles::crash() {
  const std::lock_guard lock(mutex_);
  ++life_;
  locks_.clear();
  fault_ = nullptr;
  power_ends_ = std::numeric_limits<std::uint64_t>::max();
  // Of each folder's changes, in order, the first few.
  std::map<std::string, std::vector<NameChange>> by_folder;
  for (NameChange& change : std::exchange(changes_, {})) by_folder[change.folder].push_back(std::move(change));
  for (const auto& [folder, changes] : by_folder) {
    const std::uint64_t survive = random_.below(changes.size() + 1);
    for (std::uint64_t i = 0; i < survive; ++i) apply(changes[i], durable_names_);
  }
  names_ = durable_names_;
  used_ = 0;
  for (const auto& [path, inode] : names_) {
    lose_unsynced(*inode);
    used_ += inode->now.size();
  }
}

void FaultyFiles::lose_unsynced(Inode& inode) {
  // Some crashes spare nearly everything, some nothing.
  const double survives = random_.uniform() < 0.3 ? 0.0 : random_.uniform();
  for (const Inode::Change& change : std::exchange(inode.unsynced, {})) {
    for (std::uint64_t done = 0; done < change.bytes.size();) {
      const std::uint64_t at = change.offset + done;
      const std::uint64_t page = std::min<std::uint64_t>(kPage - at % kPage, change.bytes.size() - done);
      if (random_.uniform() < survives) {
        // One page in eight is torn between sectors.
        const std::uint64_t kept =
            random_.below(8) == 0 ? std::min(page, random_.below(kPage / kSector) * kSector) : page;
        if (inode.durable.size() < at + kept) inode.durable.resize(at + kept);
        std::copy_n(change.bytes.begin() + static_cast<std::ptrdiff_t>(done), kept,
                    inode.durable.begin() + static_cast<std::ptrdiff_t>(at));
      }
      done += page;
    }
  }
  inode.now = inode.durable;
}

void FaultyFiles::set_fault(std::function<std::optional<Error>(FileOperation, const std::string&)> fault) {
  const std::lock_guard lock(mutex_);
  fault_ = std::move(fault);
}

void FaultyFiles::set_capacity(std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  capacity_ = bytes;
}

std::uint64_t FaultyFiles::operations() const {
  const std::lock_guard lock(mutex_);
  return operations_;
}

std::vector<std::byte> FaultyFiles::contents(const std::string& path) const {
  const std::lock_guard lock(mutex_);
  const auto found = names_.find(path);
  SHOAL_CHECK(found != names_.end(), "there is no file " + path);
  return found->second->now;
}

void FaultyFiles::overwrite(const std::string& path, std::uint64_t offset, std::span<const std::byte> bytes) {
  const std::lock_guard lock(mutex_);
  const auto found = names_.find(path);
  SHOAL_CHECK(found != names_.end() && offset + bytes.size() <= found->second->now.size(),
              "there is no such place in " + path);
  for (std::vector<std::byte>* copy : {&found->second->now, &found->second->durable})
    if (offset + bytes.size() <= copy->size())
      std::copy(bytes.begin(), bytes.end(), copy->begin() + static_cast<std::ptrdiff_t>(offset));
}

}  // namespace shoal::tests
