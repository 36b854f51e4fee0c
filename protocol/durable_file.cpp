#include "protocol/durable_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string_view>
#include <vector>

namespace shoal::protocol {
namespace {

ErrorCode code_of(int error) {
  switch (error) {
    case ENOENT: return ErrorCode::kNotFound;
    case EACCES:
    case EPERM: return ErrorCode::kDenied;
    case ENOSPC:
    case EDQUOT: return ErrorCode::kExhausted;
    case EEXIST: return ErrorCode::kInvalid;
    default: return ErrorCode::kFailed;
  }
}

Error failed(const std::string& what) {
  const int error = errno;
  return errno_error(code_of(error), what, error);
}

class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return value_; }

 private:
  int value_;
};

Status write_all(int descriptor, std::span<const std::byte> bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(descriptor, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed("cannot write " + path);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

Status sync_folder_of(const std::string& path) {
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  const std::string folder = parent.empty() ? "." : parent.string();
  const Descriptor descriptor(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (descriptor.get() < 0 || ::fsync(descriptor.get()) != 0) return failed("cannot sync folder " + folder);
  return {};
}

// Gives a finished temporary file its name. link() fails where rename() would replace.
Status publish(const std::string& temporary, const std::string& path, IfExists if_exists) {
  if (if_exists == IfExists::kReplace) {
    if (::rename(temporary.c_str(), path.c_str()) != 0) return failed("cannot rename " + temporary + " to " + path);
  } else {
    if (::link(temporary.c_str(), path.c_str()) != 0) return failed("cannot create " + path);
    ::unlink(temporary.c_str());
  }
  return sync_folder_of(path);
}

}  // namespace

Result<std::string> read_file(const std::string& path, std::uint64_t max_bytes) {
  const Descriptor descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (descriptor.get() < 0) return failed("cannot open " + path);
  std::string content;
  char buffer[16 * 1024];
  while (true) {
    const ssize_t n = ::read(descriptor.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed("cannot read " + path);
    if (n == 0) return content;
    if (content.size() + static_cast<std::size_t>(n) > max_bytes)
      return Error(ErrorCode::kCorrupt, path + " is longer than " + std::to_string(max_bytes) + " bytes");
    content.append(buffer, static_cast<std::size_t>(n));
  }
}

Status write_file(const std::string& path, std::span<const std::span<const std::byte>> pieces, unsigned mode,
                  IfExists if_exists) {
  std::string temporary = path + ".XXXXXX";
  const Descriptor descriptor(::mkostemp(temporary.data(), O_CLOEXEC));  // made with mode 0600
  if (descriptor.get() < 0) return failed("cannot create a file beside " + path);

  const Status written = [&]() -> Status {
    for (std::span<const std::byte> piece : pieces) SHOAL_TRY(write_all(descriptor.get(), piece, temporary));
    if (::fchmod(descriptor.get(), mode) != 0) return failed("cannot set the mode of " + temporary);
    if (::fsync(descriptor.get()) != 0) return failed("cannot sync " + temporary);
    return publish(temporary, path, if_exists);
  }();
  if (!written.ok()) ::unlink(temporary.c_str());
  return written;
}

Status write_file(const std::string& path, std::string_view text, unsigned mode, IfExists if_exists) {
  const std::span<const std::byte> piece = std::as_bytes(std::span(text));
  return write_file(path, std::span(&piece, 1), mode, if_exists);
}

}  // namespace shoal::protocol
