#include "tests/coordinator/rocksdb/faulty_env.h"

#include <rocksdb/file_system.h>

#include <cstdarg>
#include <string>
#include <utility>
#include <vector>

namespace shoal::tests {
namespace {

using coordinator::File;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

IOStatus to_rocksdb(const Status& status) {
  if (status.ok()) return IOStatus::OK();
  if (status.error().code() == ErrorCode::kExhausted) return IOStatus::NoSpace(status.error().to_string());
  if (status.error().code() == ErrorCode::kNotFound) return IOStatus::NotFound(status.error().to_string());
  return IOStatus::IOError(status.error().to_string());
}

template <class T>
IOStatus failed(const Result<T>& result) {
  return to_rocksdb(Status(result.error()));
}

// RocksDB has doubled slashes here and there.
std::string clean(const std::string& path) {
  std::string cleaned;
  for (char c : path)
    if (c != '/' || cleaned.empty() || cleaned.back() != '/') cleaned.push_back(c);
  while (cleaned.size() > 1 && cleaned.back() == '/') cleaned.pop_back();
  return cleaned;
}

std::span<const std::byte> bytes_of(const Slice& slice) {
  return {reinterpret_cast<const std::byte*>(slice.data()), slice.size()};
}

IOStatus read_into(const File& file, std::uint64_t offset, std::size_t n, char* scratch, Slice* result) {
  const auto bytes = file.read(offset, {reinterpret_cast<std::byte*>(scratch), n});
  if (!bytes.ok()) return failed(bytes);
  *result = Slice(scratch, *bytes);
  return IOStatus::OK();
}

class Sequential final : public rocksdb::FSSequentialFile {
 public:
  explicit Sequential(std::unique_ptr<File> file) : file_(std::move(file)) {}
  IOStatus Read(std::size_t n, const IOOptions&, Slice* result, char* scratch, IODebugContext*) override {
    IOStatus status = read_into(*file_, at_, n, scratch, result);
    if (status.ok()) at_ += result->size();
    return status;
  }
  IOStatus Skip(std::uint64_t n) override {
    at_ += n;
    return IOStatus::OK();
  }

 private:
  std::unique_ptr<File> file_;
  std::uint64_t at_ = 0;
};

class RandomAccess final : public rocksdb::FSRandomAccessFile {
 public:
  explicit RandomAccess(std::unique_ptr<File> file) : file_(std::move(file)) {}
  IOStatus Read(std::uint64_t offset, std::size_t n, const IOOptions&, Slice* result, char* scratch,
                IODebugContext*) const override {
    return read_into(*file_, offset, n, scratch, result);
  }

 private:
  std::unique_ptr<File> file_;
};

class Writable final : public rocksdb::FSWritableFile {
 public:
  Writable(std::unique_ptr<File> file, std::uint64_t size) : file_(std::move(file)), size_(size) {}
  using FSWritableFile::Append;
  IOStatus Append(const Slice& data, const IOOptions&, IODebugContext*) override {
    IOStatus status = to_rocksdb(file_->write(size_, bytes_of(data)));
    if (status.ok()) size_ += data.size();
    return status;
  }
  IOStatus Truncate(std::uint64_t, const IOOptions&, IODebugContext*) override { return IOStatus::OK(); }
  IOStatus Close(const IOOptions&, IODebugContext*) override { return IOStatus::OK(); }
  IOStatus Flush(const IOOptions&, IODebugContext*) override { return IOStatus::OK(); }
  IOStatus Sync(const IOOptions&, IODebugContext*) override { return to_rocksdb(file_->sync()); }
  std::uint64_t GetFileSize(const IOOptions&, IODebugContext*) override { return size_; }

 private:
  std::unique_ptr<File> file_;
  std::uint64_t size_;
};

class Folder final : public rocksdb::FSDirectory {
 public:
  Folder(FaultyFiles& disk, std::string path) : disk_(disk), path_(std::move(path)) {}
  IOStatus Fsync(const IOOptions&, IODebugContext*) override { return to_rocksdb(disk_.sync_folder(path_)); }

 private:
  FaultyFiles& disk_;
  const std::string path_;
};

// The data folder's own lock is what counts; RocksDB's is always free.
class NoLock final : public rocksdb::FileLock {};

class NoLogger final : public rocksdb::Logger {
 public:
  using Logger::Logv;
  void Logv(const char*, va_list) override {}
  std::size_t GetLogFileSize() const override { return 0; }
};

class FaultyFileSystem final : public rocksdb::FileSystem {
 public:
  explicit FaultyFileSystem(FaultyFiles& disk) : disk_(disk) {}
  const char* Name() const override { return "FaultyFileSystem"; }

  IOStatus NewSequentialFile(const std::string& name, const rocksdb::FileOptions&,
                             std::unique_ptr<rocksdb::FSSequentialFile>* result, IODebugContext*) override {
    auto file = disk_.open(clean(name));
    if (!file.ok()) return failed(file);
    *result = std::make_unique<Sequential>(std::move(*file));
    return IOStatus::OK();
  }
  IOStatus NewRandomAccessFile(const std::string& name, const rocksdb::FileOptions&,
                               std::unique_ptr<rocksdb::FSRandomAccessFile>* result, IODebugContext*) override {
    auto file = disk_.open(clean(name));
    if (!file.ok()) return failed(file);
    *result = std::make_unique<RandomAccess>(std::move(*file));
    return IOStatus::OK();
  }
  IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions&,
                           std::unique_ptr<rocksdb::FSWritableFile>* result, IODebugContext*) override {
    if (disk_.open(clean(name)).ok())
      if (IOStatus removed = to_rocksdb(disk_.remove(clean(name))); !removed.ok()) return removed;
    auto file = disk_.create(clean(name));
    if (!file.ok()) return failed(file);
    *result = std::make_unique<Writable>(std::move(*file), 0);
    return IOStatus::OK();
  }
  IOStatus ReopenWritableFile(const std::string& name, const rocksdb::FileOptions&,
                              std::unique_ptr<rocksdb::FSWritableFile>* result, IODebugContext*) override {
    auto file = disk_.open(clean(name));
    if (!file.ok()) return failed(file);
    const auto size = (*file)->size();
    *result = std::make_unique<Writable>(std::move(*file), *size);
    return IOStatus::OK();
  }
  IOStatus NewDirectory(const std::string& name, const IOOptions&, std::unique_ptr<rocksdb::FSDirectory>* result,
                        IODebugContext*) override {
    *result = std::make_unique<Folder>(disk_, clean(name));
    return IOStatus::OK();
  }

  IOStatus FileExists(const std::string& name, const IOOptions&, IODebugContext*) override {
    return disk_.open(clean(name)).ok() ? IOStatus::OK() : IOStatus::NotFound();
  }
  IOStatus GetChildren(const std::string& name, const IOOptions&, std::vector<std::string>* result,
                       IODebugContext*) override {
    auto names = disk_.list(clean(name));
    if (!names.ok()) return failed(names);
    *result = std::move(*names);
    return IOStatus::OK();
  }
  IOStatus DeleteFile(const std::string& name, const IOOptions&, IODebugContext*) override {
    return to_rocksdb(disk_.remove(clean(name)));
  }
  IOStatus CreateDir(const std::string& name, const IOOptions&, IODebugContext*) override {
    return to_rocksdb(disk_.make_folder(clean(name)));
  }
  IOStatus CreateDirIfMissing(const std::string& name, const IOOptions&, IODebugContext*) override {
    return to_rocksdb(disk_.make_folder(clean(name)));
  }
  IOStatus DeleteDir(const std::string& name, const IOOptions&, IODebugContext*) override {
    return to_rocksdb(disk_.remove(clean(name)));
  }
  IOStatus GetFileSize(const std::string& name, const IOOptions&, std::uint64_t* size, IODebugContext*) override {
    auto file = disk_.open(clean(name));
    if (!file.ok()) return failed(file);
    *size = *(*file)->size();
    return IOStatus::OK();
  }
  IOStatus GetFileModificationTime(const std::string&, const IOOptions&, std::uint64_t* time,
                                   IODebugContext*) override {
    *time = 0;
    return IOStatus::OK();
  }
  IOStatus RenameFile(const std::string& from, const std::string& to, const IOOptions&, IODebugContext*) override {
    return to_rocksdb(disk_.rename(clean(from), clean(to)));
  }
  IOStatus LockFile(const std::string&, const IOOptions&, rocksdb::FileLock** lock, IODebugContext*) override {
    *lock = new NoLock;
    return IOStatus::OK();
  }
  IOStatus UnlockFile(rocksdb::FileLock* lock, const IOOptions&, IODebugContext*) override {
    delete lock;
    return IOStatus::OK();
  }
  IOStatus GetTestDirectory(const IOOptions&, std::string*, IODebugContext*) override {
    return IOStatus::NotSupported();
  }
  IOStatus NewLogger(const std::string&, const IOOptions&, std::shared_ptr<rocksdb::Logger>* result,
                     IODebugContext*) override {
    *result = std::make_shared<NoLogger>();
    return IOStatus::OK();
  }
  IOStatus GetAbsolutePath(const std::string& path, const IOOptions&, std::string* result, IODebugContext*) override {
    *result = path;
    return IOStatus::OK();
  }
  IOStatus IsDirectory(const std::string&, const IOOptions&, bool* is_folder, IODebugContext*) override {
    *is_folder = true;
    return IOStatus::OK();
  }

 private:
  FaultyFiles& disk_;
};

}  // namespace

std::unique_ptr<rocksdb::Env> faulty_env(FaultyFiles& disk) {
  return rocksdb::NewCompositeEnv(std::make_shared<FaultyFileSystem>(disk));
}

}  // namespace shoal::tests
