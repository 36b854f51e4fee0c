#include "client/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <utility>

namespace shoal::client {

namespace {

ErrorCode code_of(int error) {
  switch (error) {
    case ENOENT: return ErrorCode::kNotFound;
    case EACCES:
    case EPERM: return ErrorCode::kDenied;
    case ENOSPC:
    case EDQUOT: return ErrorCode::kExhausted;
    default: return ErrorCode::kFailed;
  }
}

Error failed(const std::string& what, const std::string& path) {
  const int error = errno;
  Error why = errno_error(code_of(error), "cannot " + what + " " + path, error);
  if (why.code() != ErrorCode::kExhausted) return why;
  return std::move(why).because_of_this("this device's disk is full; make room on it");
}

}  // namespace

Result<File> File::open_to_read(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return failed("open", path);
  return File(descriptor, path);
}

Result<File> File::open_to_write(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (descriptor < 0) return failed("create", path);
  return File(descriptor, path);
}

File::~File() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

File::File(File&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)), path_(std::move(other.path_)) {}

File& File::operator=(File&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  std::swap(path_, other.path_);
  return *this;
}

Result<std::uint64_t> File::size() const {
  struct stat info {};
  if (::fstat(descriptor_, &info) != 0) return failed("inspect", path_);
  return static_cast<std::uint64_t>(info.st_size);
}

Status File::read_at(std::uint64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t n = ::pread(descriptor_, out.data(), out.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed("read", path_);
    if (n == 0) return Error(ErrorCode::kCorrupt, path_ + " ends at byte " + std::to_string(offset));
    out = out.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
  return {};
}

Status File::write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed("write", path_);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
  return {};
}

Status File::truncate(std::uint64_t size) {
  if (::ftruncate(descriptor_, static_cast<off_t>(size)) != 0) return failed("truncate", path_);
  return {};
}

Status File::sync() {
  if (::fdatasync(descriptor_) != 0) return failed("sync", path_);
  return {};
}

Status make_folder(const std::string& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return {};
  std::filesystem::create_directories(path, error);
  if (error) return errno_error(code_of(error.value()), "cannot create the folder " + path, error.value());
  if (::chmod(path.c_str(), 0700) != 0) return failed("protect", path);
  return {};
}

Status sync_folder(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return failed("open", path);
  const bool synced = ::fsync(descriptor) == 0;
  const int error = errno;
  ::close(descriptor);
  if (!synced) return errno_error(code_of(error), "cannot sync " + path, error);
  return {};
}

Status rename_durably(const std::string& folder, const std::string& from, const std::string& to) {
  if (::rename((folder + "/" + from).c_str(), (folder + "/" + to).c_str()) != 0)
    return failed("rename", folder + "/" + from);
  return sync_folder(folder);
}

Status remove_file(const std::string& path) {
  if (::unlink(path.c_str()) == 0 || errno == ENOENT) return {};
  return failed("remove", path);
}

Status remove_durably(const std::string& folder, const std::string& name) {
  SHOAL_TRY(remove_file(folder + "/" + name));
  return sync_folder(folder);
}

}  // namespace shoal::client
