#include "coordinator/model_files.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <optional>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "protocol/sha256.h"

namespace shoal::coordinator {
namespace {

// As in segments: early enough that the sync at the end finds little left to do.
constexpr std::uint64_t kWriteback = 4 << 20;

std::string stem_of(const std::string& folder, Version version, std::uint64_t object) {
  char hex[20];
  std::snprintf(hex, sizeof hex, "%016llx", static_cast<unsigned long long>(object));
  return folder + "/" + std::to_string(version) + "-" + hex;
}
std::string state_suffix(int array) { return ".state" + std::to_string(array); }

// The object that a file name tells of; nullopt for a name that is not ours.
std::optional<std::uint64_t> object_in(std::string_view name) {
  const std::size_t dash = name.find('-'), dot = name.find('.');
  if (dash == name.npos || dot == name.npos || dot != dash + 17) return std::nullopt;
  std::uint64_t object = 0;
  const auto [end, error] = std::from_chars(name.data() + dash + 1, name.data() + dot, object, 16);
  if (error != std::errc() || end != name.data() + dot) return std::nullopt;
  return object;
}

// Appends, and starts write-back as it goes.
class AppendedFile {
 public:
  explicit AppendedFile(std::unique_ptr<File> file) : file_(std::move(file)) {}

  Status append(std::span<const std::byte> bytes) {
    SHOAL_TRY(file_->write(size_, bytes));
    size_ += bytes.size();
    if (size_ - written_back_ >= kWriteback) start_writeback();
    return {};
  }
  void start_writeback() {
    file_->start_writeback(written_back_, size_ - written_back_);
    written_back_ = size_;
  }
  const File& file() const { return *file_; }
  std::uint64_t size() const { return size_; }
  Status sync() { return file_->sync(); }

 private:
  std::unique_ptr<File> file_;
  std::uint64_t size_ = 0, written_back_ = 0;
};

class Reader final : public ModelReader {
 public:
  Reader(ModelRef ref, std::unique_ptr<File> model, std::unique_ptr<File> sealed,
         std::vector<std::unique_ptr<File>> state)
      : ref_(std::move(ref)), model_(std::move(model)), sealed_(std::move(sealed)), state_(std::move(state)) {}

  std::uint64_t bytes() const override { return ref_.bytes; }
  Status read(std::uint64_t offset, std::span<std::byte> out) const override {
    return read_all(*model_, offset, out, "safetensors file");
  }
  Status read_state(int array, std::uint64_t first, std::span<float> out) const override {
    if (array < 0 || static_cast<std::size_t>(array) >= state_.size())
      return Error(ErrorCode::kNotFound, name() + " has no optimizer state " + std::to_string(array));
    return read_all(*state_[static_cast<std::size_t>(array)], first * sizeof(float), std::as_writable_bytes(out),
                    "optimizer state");
  }
  Status read_sealed(std::uint32_t chunk, std::vector<std::byte>& out) const override {
    if (chunk >= ref_.object.chunks())
      return Error(ErrorCode::kNotFound, name() + " has no chunk " + std::to_string(chunk));
    out.resize(ref_.object.sealed_bytes(chunk));
    return read_all(*sealed_, std::uint64_t{chunk} * (protocol::kChunkBytes + protocol::kTagBytes), out, "sealed copy");
  }

 private:
  std::string name() const {
    return "version " + std::to_string(ref_.version) + " of job " + std::to_string(ref_.job.value);
  }
  Status read_all(const File& file, std::uint64_t offset, std::span<std::byte> out, const char* what) const {
    SHOAL_TRY_ASSIGN(const std::size_t bytes, file.read(offset, out));
    if (bytes < out.size())
      return Error(ErrorCode::kCorrupt, std::string("the ") + what + " of " + name() + " is cut off");
    return {};
  }

  const ModelRef ref_;
  const std::unique_ptr<File> model_, sealed_;
  const std::vector<std::unique_ptr<File>> state_;
};

class ModelFiles final : public ModelStore {
 public:
  ModelFiles(FileSystem& files, std::string folder) : files_(files), folder_(std::move(folder)) {}

  Result<std::unique_ptr<ModelWriter>> create(JobId job, Version version, int state_arrays) override;
  Result<std::unique_ptr<ModelReader>> open(const ModelRef& ref) const override;
  Status keep_only(std::span<const ModelRef> refs) override;
  Status discard(const ModelRef& ref) override;

 private:
  class Writer;
  // Files of one job's folder whose object is not wanted.
  Status remove_from(const std::string& folder, const std::function<bool(std::uint64_t object)>& unwanted);
  std::string folder_of(JobId job) const { return folder_ + "/" + std::to_string(job.value); }

  FileSystem& files_;
  const std::string folder_;
  std::mutex mutex_;
  std::set<std::uint64_t> young_;  // objects begun here that no keep_only() has named
};

// Plain bytes are collected to whole chunks; each is hashed, written, sealed and written again.
class ModelFiles::Writer final : public ModelWriter {
 public:
  Writer(ModelFiles& store, ModelRef ref, std::string stem)
      : store_(store), ref_(std::move(ref)), stem_(std::move(stem)) {
    plain_.reserve(protocol::kChunkBytes);
    sealed_chunk_.resize(protocol::kChunkBytes + protocol::kTagBytes);
  }

  // Without finish() nothing remains.
  ~Writer() override {
    if (finished_) return;
    model_.reset();
    sealed_.reset();
    state_.clear();
    for (const std::string& path : made_) static_cast<void>(store_.files_.remove(path));
    const std::lock_guard lock(store_.mutex_);
    store_.young_.erase(ref_.object.id);
  }

  Status make_files(int state_arrays) {
    SHOAL_TRY_ASSIGN(model_, make(".safetensors"));
    SHOAL_TRY_ASSIGN(sealed_, make(".sealed"));
    for (int array = 0; array < state_arrays; ++array) {
      SHOAL_TRY_ASSIGN(std::optional<AppendedFile> file, make(state_suffix(array)));
      state_.push_back(std::move(*file));
    }
    return {};
  }

  Status expect(std::uint64_t bytes) override {
    SHOAL_CHECK(model_->size() == 0 && plain_.empty(), "the size is announced before the first byte");
    ref_.object.bytes = bytes;
    cipher_.emplace(ref_.object);
    return {};
  }

  Status write(std::span<const std::byte> bytes) override {
    while (!bytes.empty()) {
      const auto part = bytes.first(std::min(bytes.size(), protocol::kChunkBytes - plain_.size()));
      plain_.insert(plain_.end(), part.begin(), part.end());
      bytes = bytes.subspan(part.size());
      if (plain_.size() == protocol::kChunkBytes) SHOAL_TRY(flush_chunk());
    }
    return {};
  }

  Status write_state(int array, std::span<const float> values) override {
    return state_.at(static_cast<std::size_t>(array)).append(std::as_bytes(values));
  }

  Result<ModelRef> finish() && override {
    if (!plain_.empty()) SHOAL_TRY(flush_chunk());
    ref_.bytes = model_->size();
    ref_.digest = hash_.finish();
    if (!cipher_) SHOAL_TRY(seal_afterwards());
    if (ref_.object.bytes != ref_.bytes)
      return Error(ErrorCode::kInvalid, "a model of " + std::to_string(ref_.bytes) + " bytes was announced as " +
                                            std::to_string(ref_.object.bytes));
    // All of them on their way before one is waited for: the first sync then settles most of what the others would wait
    // for.
    sealed_->start_writeback();
    for (AppendedFile& file : state_) file.start_writeback();
    SHOAL_TRY(model_->sync());
    SHOAL_TRY(sealed_->sync());
    for (AppendedFile& file : state_) SHOAL_TRY(file.sync());
    SHOAL_TRY(store_.files_.sync_folder(store_.folder_of(ref_.job)));
    finished_ = true;
    return ref_;
  }

 private:
  Result<std::optional<AppendedFile>> make(const std::string& suffix) {
    SHOAL_TRY_ASSIGN(auto file, store_.files_.create(stem_ + suffix));
    made_.push_back(stem_ + suffix);
    return std::optional<AppendedFile>(AppendedFile(std::move(file)));
  }

  Status flush_chunk() {
    hash_.update(plain_);
    SHOAL_TRY(model_->append(plain_));
    if (cipher_) SHOAL_TRY(seal(plain_));
    plain_.clear();
    return {};
  }

  Status seal(std::span<const std::byte> plain) {
    if (chunks_sealed_ >= ref_.object.chunks() ||
        ref_.object.sealed_bytes(chunks_sealed_) != plain.size() + protocol::kTagBytes)
      return Error(ErrorCode::kInvalid,
                   "a model is not as long as it was announced, " + std::to_string(ref_.object.bytes) + " bytes");
    const auto sealed = std::span(sealed_chunk_).first(plain.size() + protocol::kTagBytes);
    cipher_->seal(chunks_sealed_++, plain, sealed);
    return sealed_->append(sealed);
  }

  // The number of chunks is part of what every tag covers: a file of unknown size is sealed once it is whole.
  Status seal_afterwards() {
    ref_.object.bytes = model_->size();
    cipher_.emplace(ref_.object);
    for (std::uint64_t at = 0; at < model_->size(); at += plain_.size()) {
      plain_.resize(std::min<std::uint64_t>(protocol::kChunkBytes, model_->size() - at));
      SHOAL_TRY_ASSIGN(const std::size_t bytes, model_->file().read(at, plain_));
      if (bytes < plain_.size())
        return Error(ErrorCode::kCorrupt, stem_ + ".safetensors became shorter while it was sealed");
      SHOAL_TRY(seal(plain_));
    }
    return {};
  }

  ModelFiles& store_;
  ModelRef ref_;
  const std::string stem_;
  std::vector<std::string> made_;
  std::optional<AppendedFile> model_, sealed_;
  std::vector<AppendedFile> state_;
  protocol::Sha256 hash_;
  std::optional<protocol::ChunkCipher> cipher_;  // once the size is known
  std::uint32_t chunks_sealed_ = 0;
  std::vector<std::byte> plain_, sealed_chunk_;
  bool finished_ = false;
};

Result<std::unique_ptr<ModelWriter>> ModelFiles::create(JobId job, Version version, int state_arrays) {
  ModelRef ref;
  ref.job = job;
  ref.version = version;
  ref.object.suite = protocol::preferred_suite();
  SHOAL_TRY_ASSIGN(ref.object.key, protocol::make_object_key());
  SHOAL_TRY_ASSIGN(const protocol::ObjectKey random, protocol::make_object_key());
  std::memcpy(&ref.object.id, random.data(), sizeof ref.object.id);
  SHOAL_TRY(files_.make_folder(folder_of(job)));
  {
    const std::lock_guard lock(mutex_);
    young_.insert(ref.object.id);
  }
  auto writer = std::make_unique<Writer>(*this, ref, stem_of(folder_of(job), version, ref.object.id));
  SHOAL_TRY(writer->make_files(state_arrays));
  return std::unique_ptr<ModelWriter>(std::move(writer));
}

Result<std::unique_ptr<ModelReader>> ModelFiles::open(const ModelRef& ref) const {
  const std::string stem = stem_of(folder_of(ref.job), ref.version, ref.object.id);
  SHOAL_TRY_ASSIGN(auto model, files_.open(stem + ".safetensors"));
  SHOAL_TRY_ASSIGN(auto sealed, files_.open(stem + ".sealed"));
  SHOAL_TRY_ASSIGN(const std::uint64_t bytes, model->size());
  SHOAL_TRY_ASSIGN(const std::uint64_t sealed_bytes, sealed->size());
  if (bytes != ref.bytes || sealed_bytes != ref.object.sealed_bytes())
    return Error(ErrorCode::kCorrupt, stem + ".safetensors or .sealed is not as long as it was when it was committed");
  std::vector<std::unique_ptr<File>> state;
  for (;;) {
    auto file = files_.open(stem + state_suffix(static_cast<int>(state.size())));
    if (!file.ok() && file.error().code() == ErrorCode::kNotFound) break;
    if (!file.ok()) return std::move(file).error();
    state.push_back(std::move(file).value());
  }
  return std::unique_ptr<ModelReader>(
      std::make_unique<Reader>(ref, std::move(model), std::move(sealed), std::move(state)));
}

Status ModelFiles::keep_only(std::span<const ModelRef> refs) {
  std::set<std::uint64_t> kept;
  for (const ModelRef& ref : refs) kept.insert(ref.object.id);
  {
    const std::lock_guard lock(mutex_);
    for (std::uint64_t object : kept) young_.erase(object);
    kept.insert(young_.begin(), young_.end());
  }
  SHOAL_TRY_ASSIGN(const std::vector<std::string> jobs, files_.list(folder_));
  for (const std::string& job : jobs)
    SHOAL_TRY(remove_from(folder_ + "/" + job, [&](std::uint64_t object) { return !kept.contains(object); }));
  return {};
}

Status ModelFiles::discard(const ModelRef& ref) {
  {
    const std::lock_guard lock(mutex_);
    young_.erase(ref.object.id);
  }
  return remove_from(folder_of(ref.job), [&](std::uint64_t object) { return object == ref.object.id; });
}

Status ModelFiles::remove_from(const std::string& folder, const std::function<bool(std::uint64_t object)>& unwanted) {
  SHOAL_TRY_ASSIGN(const std::vector<std::string> names, files_.list(folder));
  for (const std::string& name : names) {
    const auto object = object_in(name);
    if (object && unwanted(*object)) SHOAL_TRY(files_.remove(folder + "/" + name));
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<ModelStore>> open_model_files(FileSystem& files, std::string folder) {
  SHOAL_TRY(files.make_folder(folder));
  return std::unique_ptr<ModelStore>(std::make_unique<ModelFiles>(files, std::move(folder)));
}

}  // namespace shoal::coordinator
