#include "coordinator/file_system.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <utility>

namespace shoal::coordinator {
namespace {

Error file_error(const std::string& what, const std::string& path) {
  const int saved = errno;
  ErrorCode code = ErrorCode::kFailed;
  if (saved == ENOSPC || saved == EDQUOT || saved == EMFILE || saved == ENFILE) code = ErrorCode::kExhausted;
  if (saved == ENOENT) code = ErrorCode::kNotFound;
  if (saved == EACCES || saved == EPERM || saved == EROFS) code = ErrorCode::kDenied;
  return errno_error(code, what + " " + path, saved);
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

class PosixFile final : public File {
 public:
  PosixFile(Descriptor fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}

  Status write(std::uint64_t offset, std::span<const std::byte> bytes) override {
    while (!bytes.empty()) {
      const ssize_t n = ::pwrite(fd_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return file_error("cannot write to", path_);
      bytes = bytes.subspan(static_cast<std::size_t>(n));
      offset += static_cast<std::uint64_t>(n);
    }
    return {};
  }

  Result<std::size_t> read(std::uint64_t offset, std::span<std::byte> out) const override {
    std::size_t done = 0;
    while (done < out.size()) {
      const ssize_t n = ::pread(fd_.get(), out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return file_error("cannot read", path_);
      if (n == 0) break;
      done += static_cast<std::size_t>(n);
    }
    return done;
  }

  Result<std::uint64_t> size() const override {
    struct stat info {};
    if (::fstat(fd_.get(), &info) != 0) return file_error("cannot tell the size of", path_);
    return static_cast<std::uint64_t>(info.st_size);
  }

  Status sync() override {
    int failed = 0;
    do {
      failed = ::fdatasync(fd_.get());
    } while (failed != 0 && errno == EINTR);
    if (failed != 0) return file_error("cannot sync", path_);
    return {};
  }

  void start_writeback(std::uint64_t offset, std::uint64_t length) override {
    ::sync_file_range(fd_.get(), static_cast<off_t>(offset), static_cast<off_t>(length), SYNC_FILE_RANGE_WRITE);
  }

  Status allocate(std::uint64_t offset, std::uint64_t length) override {
    // Not posix_fallocate(), which writes zeros where the file system has no allocation of its own.
    if (::fallocate(fd_.get(), 0, static_cast<off_t>(offset), static_cast<off_t>(length)) == 0) return {};
    if (errno != EOPNOTSUPP) return file_error("cannot allocate space for", path_);
    if (::ftruncate(fd_.get(), static_cast<off_t>(offset + length)) != 0) return file_error("cannot extend", path_);
    return {};
  }

  void punch(std::uint64_t offset, std::uint64_t length) override {
    ::fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                static_cast<off_t>(length));
  }

 private:
  const Descriptor fd_;
  const std::string path_;
};

// flock() belongs to the open file: it ends with the process, however that ends.
class PosixLock final : public FolderLock {
 public:
  explicit PosixLock(Descriptor fd) : fd_(std::move(fd)) {}

 private:
  const Descriptor fd_;
};

class PosixFiles final : public FileSystem {
 public:
  Result<std::unique_ptr<File>> create(const std::string& path) override {
    return open_with(path, O_CREAT | O_EXCL, "cannot create");
  }
  Result<std::unique_ptr<File>> open(const std::string& path) override { return open_with(path, 0, "cannot open"); }

  Status rename(const std::string& from, const std::string& to) override {
    if (::rename(from.c_str(), to.c_str()) != 0) return file_error("cannot rename to " + to + " the file", from);
    return {};
  }

  Status remove(const std::string& path) override {
    if (std::remove(path.c_str()) != 0 && errno != ENOENT) return file_error("cannot remove", path);
    return {};
  }

  Status make_folder(const std::string& path) override {
    for (std::size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
      const std::string folder = path.substr(0, end);
      if (::mkdir(folder.c_str(), 0700) == 0) {
        SHOAL_TRY(sync_folder(folder.find('/') == std::string::npos
                                  ? "."
                                  : folder.substr(0, std::max(folder.rfind('/'), std::size_t{1}))));
      } else if (errno != EEXIST) {
        return file_error("cannot make the folder", folder);
      }
      if (end == std::string::npos) return {};
    }
  }

  Result<std::vector<std::string>> list(const std::string& folder) const override {
    const std::unique_ptr<DIR, int (*)(DIR*)> opened(::opendir(folder.c_str()), ::closedir);
    std::vector<std::string> names;
    if (!opened && errno == ENOENT) return names;
    if (!opened) return file_error("cannot list", folder);
    while (const dirent* entry = ::readdir(opened.get())) {
      const std::string name = entry->d_name;
      if (name != "." && name != "..") names.push_back(name);
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  Status sync_folder(const std::string& folder) override {
    const Descriptor fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd.get() < 0 || ::fsync(fd.get()) != 0) return file_error("cannot sync the folder", folder);
    return {};
  }

  Result<std::uint64_t> free_bytes(const std::string& folder) const override {
    struct statvfs info {};
    if (::statvfs(folder.c_str(), &info) != 0) return file_error("cannot tell the free space of", folder);
    return std::uint64_t{info.f_bavail} * info.f_frsize;
  }

  Result<std::unique_ptr<FolderLock>> lock(const std::string& folder) override {
    const std::string path = folder + "/LOCK";
    Descriptor fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (fd.get() < 0) return file_error("cannot open", path);
    char pid[16] = {};
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK) return file_error("cannot lock", path);
      const bool known = ::pread(fd.get(), pid, sizeof pid - 1, 0) > 0;
      return Error(ErrorCode::kUnavailable,
                   "another process (" + (known ? "pid " + std::string(pid) : "of unknown pid") + ") uses the folder " +
                       folder + "; stop it first, or choose another folder");
    }
    const char* end = std::to_chars(pid, pid + sizeof pid, ::getpid()).ptr;
    if (::ftruncate(fd.get(), 0) != 0 || ::pwrite(fd.get(), pid, static_cast<std::size_t>(end - pid), 0) < 0)
      return file_error("cannot write to", path);
    return std::unique_ptr<FolderLock>(std::make_unique<PosixLock>(std::move(fd)));
  }

 private:
  static Result<std::unique_ptr<File>> open_with(const std::string& path, int flags, const char* attempted) {
    Descriptor fd(::open(path.c_str(), O_RDWR | O_CLOEXEC | flags, 0600));
    if (fd.get() < 0) return file_error(attempted, path);
    return std::unique_ptr<File>(std::make_unique<PosixFile>(std::move(fd), path));
  }
};

}  // namespace

FileSystem& posix_files() {
  // Stateless; lives as long as the process, so that no file outlives it.
  static PosixFiles files;
  return files;
}

}  // namespace shoal::coordinator
