#include "coordinator/memory_store.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "base/check.h"
#include "protocol/sha256.h"

namespace shoal::coordinator {
namespace {

template <class Body>
Status carry_out(const StoreFaults& faults, StoreOperation operation, Body body) {
  if (faults.before) SHOAL_TRY(faults.before(operation));
  SHOAL_TRY(body());
  if (faults.after) SHOAL_TRY(faults.after(operation));
  return {};
}

constexpr std::size_t kSealedChunk = protocol::kChunkBytes + protocol::kTagBytes;

std::span<const std::byte> chunk_of(std::span<const std::byte> whole, std::size_t stride, std::uint32_t chunk) {
  const std::size_t begin = std::min(chunk * stride, whole.size());
  return whole.subspan(begin, std::min(stride, whole.size() - begin));
}

Error not_held(AssignmentId id) {
  return Error(ErrorCode::kNotFound, "no body is held for assignment " + std::to_string(id.value));
}

}  // namespace

// ---- journal ----

Result<Recovered> MemoryJournal::recover() { return state_; }

Status MemoryJournal::append(std::span<const JournalRecord> records) {
  return carry_out(faults_, StoreOperation::kAppend, [&]() -> Status {
    for (const JournalRecord& record : records) {
      SHOAL_CHECK(record.sequence == last_ + 1, "the journal has no gaps");
      last_ = record.sequence;
      state_.now = std::max(state_.now, record.now);
      state_.records.push_back(record);
    }
    return {};
  });
}

Status MemoryJournal::commit(const Commit& commit) {
  return carry_out(faults_, StoreOperation::kCommit, [&]() -> Status {
    last_ = std::max(last_, commit.sequence);
    state_.sequence = commit.sequence;
    state_.snapshot = commit.snapshot;
    state_.now = std::max(state_.now, commit.now);
    std::erase_if(state_.records, [&](const JournalRecord& r) { return r.sequence <= commit.sequence; });
    state_.models.insert(state_.models.end(), commit.added.begin(), commit.added.end());
    std::erase_if(state_.models, [&](const ModelRef& model) {
      return std::find(commit.dropped.begin(), commit.dropped.end(), std::pair(model.job, model.version)) !=
             commit.dropped.end();
    });
    return {};
  });
}

Status MemoryJournal::put(std::string_view table, std::string_view key, std::string_view value) {
  return carry_out(faults_, StoreOperation::kPut, [&]() -> Status {
    std::pair row{std::string(table), std::string(key)};
    if (value.empty()) {
      rows_.erase(row);
    } else {
      rows_.insert_or_assign(std::move(row), std::string(value));
    }
    return {};
  });
}

Result<std::optional<std::string>> MemoryJournal::get(std::string_view table, std::string_view key) {
  const auto row = rows_.find(std::pair{std::string(table), std::string(key)});
  return row == rows_.end() ? std::nullopt : std::optional(row->second);
}

Result<std::vector<std::pair<std::string, std::string>>> MemoryJournal::scan(std::string_view table) {
  std::vector<std::pair<std::string, std::string>> found;
  for (auto row = rows_.lower_bound(std::pair{std::string(table), std::string()});
       row != rows_.end() && row->first.first == table; ++row)
    found.emplace_back(row->first.second, row->second);
  return found;
}

// ---- bodies ----

Result<std::uint32_t> MemoryBodies::open(AssignmentId id, const protocol::ObjectInfo& object) {
  std::uint32_t held = 0;
  SHOAL_TRY(carry_out(faults_, StoreOperation::kBodyOpen, [&]() -> Status {
    const std::lock_guard lock(mutex_);
    const auto found = bodies_.find(id);
    if (found != bodies_.end() && found->second->object == object && !found->second->unsealed) {
      held = found->second->chunks;
      return {};
    }
    if (found != bodies_.end() && found->second->complete() && found->second->synced == found->second->chunks)
      return Error(ErrorCode::kInvalid,
                   "assignment " + std::to_string(id.value) + " has another complete body already");
    auto body = std::make_shared<Body>();
    body->object = object;
    if (!room_.empty()) {
      body->sealed = std::move(room_.back());
      room_.pop_back();
    }
    body->sealed.reserve(object.sealed_bytes());
    bodies_.insert_or_assign(id, std::move(body));
    return {};
  }));
  return held;
}

Status MemoryBodies::write(AssignmentId id, std::uint32_t chunk, std::span<const std::byte> sealed) {
  return carry_out(faults_, StoreOperation::kBodyWrite, [&]() -> Status {
    const std::lock_guard lock(mutex_);
    const auto found = bodies_.find(id);
    if (found == bodies_.end()) return not_held(id);
    Body& body = *found->second;
    if (chunk != body.chunks || body.complete() || sealed.size() != body.object.sealed_bytes(chunk))
      return Error(ErrorCode::kInvalid, "chunk " + std::to_string(chunk) + " of assignment " +
                                            std::to_string(id.value) + " is out of order or has a wrong size");
    body.sealed.insert(body.sealed.end(), sealed.begin(), sealed.end());
    ++body.chunks;
    return {};
  });
}

Status MemoryBodies::put(AssignmentId id, std::vector<float> deltas) {
  return carry_out(faults_, StoreOperation::kBodyWrite, [&]() -> Status {
    auto body = std::make_shared<Body>();
    body->object = {.id = id.value, .bytes = deltas.size() * sizeof(float)};
    body->unsealed = true;
    body->chunks = body->object.chunks();
    body->deltas = std::move(deltas);
    const std::lock_guard lock(mutex_);
    bodies_.insert_or_assign(id, std::move(body));
    return {};
  });
}

Status MemoryBodies::sync(AssignmentId id) {
  return carry_out(faults_, StoreOperation::kBodySync, [&]() -> Status {
    const std::lock_guard lock(mutex_);
    const auto found = bodies_.find(id);
    if (found == bodies_.end()) return not_held(id);
    found->second->synced = found->second->chunks;
    return {};
  });
}

Result<std::shared_ptr<const MemoryBodies::Body>> MemoryBodies::find(AssignmentId id) const {
  const std::lock_guard lock(mutex_);
  const auto found = bodies_.find(id);
  if (found == bodies_.end()) return not_held(id);
  return std::shared_ptr<const Body>(found->second);
}

Status MemoryBodies::read(AssignmentId id, std::uint32_t chunk, std::vector<std::byte>& out) const {
  const std::lock_guard lock(mutex_);
  const auto found = bodies_.find(id);
  if (found == bodies_.end()) return not_held(id);
  const Body& body = *found->second;
  if (body.unsealed || chunk >= body.chunks)
    return Error(ErrorCode::kNotFound, "sealed chunk " + std::to_string(chunk) + " of assignment " +
                                           std::to_string(id.value) + " is not held");
  const std::span<const std::byte> bytes = chunk_of(body.sealed, kSealedChunk, chunk);
  out.assign(bytes.begin(), bytes.end());
  return {};
}

Result<protocol::ObjectInfo> MemoryBodies::info(AssignmentId id) const {
  SHOAL_TRY_ASSIGN(const auto body, find(id));
  return body->object;
}

Status MemoryBodies::release(std::span<const AssignmentId> ids) {
  return carry_out(faults_, StoreOperation::kBodyRelease, [&]() -> Status {
    const std::lock_guard lock(mutex_);
    room_.clear();
    for (AssignmentId id : ids) {
      const auto released = bodies_.extract(id);
      if (released.empty() || released.mapped().use_count() > 1) continue;
      room_.push_back(std::move(released.mapped()->sealed));
      room_.back().clear();
    }
    return {};
  });
}

std::vector<AssignmentId> MemoryBodies::held() const {
  const std::lock_guard lock(mutex_);
  std::vector<AssignmentId> ids;
  for (const auto& [id, body] : bodies_) ids.push_back(id);
  return ids;
}

std::uint64_t MemoryBodies::bytes_held() const {
  const std::lock_guard lock(mutex_);
  std::uint64_t bytes = 0;
  for (const auto& [id, body] : bodies_) bytes += body->unsealed ? body->object.bytes : body->object.sealed_bytes();
  return bytes;
}

Result<std::uint64_t> MemoryBodies::bytes(AssignmentId id) const {
  SHOAL_TRY_ASSIGN(const auto body, find(id));
  return body->object.bytes;
}

Result<std::span<const std::byte>> MemoryBodies::read(AssignmentId id, std::uint32_t chunk,
                                                      ChunkScratch& scratch) const {
  SHOAL_TRY_ASSIGN(const auto body, find(id));
  if (!body->unsealed) return open_chunk(*this, id, body->object, chunk, scratch);
  return chunk_of(std::as_bytes(std::span(body->deltas)), protocol::kChunkBytes, chunk);
}

void MemoryBodies::crash() {
  const std::lock_guard lock(mutex_);
  std::erase_if(bodies_, [](const auto& item) { return item.second->synced == 0; });
  for (auto& [id, body] : bodies_) {
    body->chunks = body->synced;
    body->sealed.resize(std::min<std::size_t>(body->sealed.size(), body->chunks * kSealedChunk));
  }
}

// ---- models ----

namespace {

class MemoryReader final : public ModelReader {
 public:
  explicit MemoryReader(std::shared_ptr<const MemoryModel> model) : model_(std::move(model)) {}

  std::uint64_t bytes() const override { return model_->file.size(); }
  Status read(std::uint64_t offset, std::span<std::byte> out) const override { return copy(model_->file, offset, out); }
  Status read_state(int array, std::uint64_t first, std::span<float> out) const override {
    if (array < 0 || static_cast<std::size_t>(array) >= model_->state.size()) return beyond();
    return copy(model_->state[static_cast<std::size_t>(array)], first, out);
  }
  Status read_sealed(std::uint32_t chunk, std::vector<std::byte>& out) const override {
    if (chunk >= model_->ref.object.chunks()) return beyond();
    const auto bytes = chunk_of(model_->sealed(), kSealedChunk, chunk);
    out.assign(bytes.begin(), bytes.end());
    return {};
  }

 private:
  static Error beyond() { return Error(ErrorCode::kCorrupt, "read beyond the end of a model version"); }

  template <class T>
  static Status copy(const std::vector<T>& from, std::uint64_t first, std::span<T> out) {
    if (first > from.size() || out.size() > from.size() - first) return beyond();
    std::copy_n(from.begin() + static_cast<std::ptrdiff_t>(first), out.size(), out.begin());
    return {};
  }

  std::shared_ptr<const MemoryModel> model_;
};

}  // namespace

const std::vector<std::byte>& MemoryModel::sealed() const {
  std::call_once(made_, [this] {
    sealed_.resize(ref.object.sealed_bytes());
    protocol::ChunkCipher cipher(ref.object);
    for (std::uint32_t chunk = 0; chunk < ref.object.chunks(); ++chunk)
      cipher.seal(chunk, chunk_of(file, protocol::kChunkBytes, chunk),
                  std::span(sealed_).subspan(chunk * kSealedChunk, ref.object.sealed_bytes(chunk)));
  });
  return sealed_;
}

class MemoryModels::Writer final : public ModelWriter {
 public:
  Writer(MemoryModels& store, JobId job, Version version, int state_arrays)
      : store_(store), model_(std::make_shared<MemoryModel>()) {
    model_->ref.job = job;
    model_->ref.version = version;
    model_->state.resize(static_cast<std::size_t>(state_arrays));
  }

  Status write(std::span<const std::byte> bytes) override {
    return carry_out(store_.faults_, StoreOperation::kModelWrite, [&]() -> Status {
      model_->file.insert(model_->file.end(), bytes.begin(), bytes.end());
      return {};
    });
  }

  Status write_state(int array, std::span<const float> values) override {
    return carry_out(store_.faults_, StoreOperation::kModelWrite, [&]() -> Status {
      std::vector<float>& state = model_->state.at(static_cast<std::size_t>(array));
      state.insert(state.end(), values.begin(), values.end());
      return {};
    });
  }

  Result<ModelRef> finish() && override {
    SHOAL_TRY_ASSIGN(const protocol::ObjectKey key, protocol::make_object_key());
    ModelRef& ref = model_->ref;
    ref.bytes = model_->file.size();
    ref.digest = protocol::sha256(model_->file);
    ref.object = {.bytes = ref.bytes, .suite = protocol::preferred_suite(), .key = key};
    SHOAL_TRY(carry_out(store_.faults_, StoreOperation::kModelFinish, [&]() -> Status {
      const std::lock_guard lock(store_.mutex_);
      ref.object.id = store_.next_object_++;
      store_.models_.emplace(ref.object.id, model_);
      store_.young_.insert(ref.object.id);
      return {};
    }));
    return ref;
  }

 private:
  MemoryModels& store_;
  std::shared_ptr<MemoryModel> model_;
};

Result<std::unique_ptr<ModelWriter>> MemoryModels::create(JobId job, Version version, int state_arrays) {
  return std::unique_ptr<ModelWriter>(std::make_unique<Writer>(*this, job, version, state_arrays));
}

Result<std::shared_ptr<const MemoryModel>> MemoryModels::find(const ModelRef& ref) const {
  const std::lock_guard lock(mutex_);
  const auto found = models_.find(ref.object.id);
  if (found == models_.end())
    return Error(ErrorCode::kNotFound, "version " + std::to_string(ref.version) + " of job " +
                                           std::to_string(ref.job.value) + " is not stored");
  return found->second;
}

Result<std::unique_ptr<ModelReader>> MemoryModels::open(const ModelRef& ref) const {
  SHOAL_TRY_ASSIGN(auto model, find(ref));
  return std::unique_ptr<ModelReader>(std::make_unique<MemoryReader>(std::move(model)));
}

Status MemoryModels::keep_only(std::span<const ModelRef> refs) {
  return carry_out(faults_, StoreOperation::kModelDelete, [&]() -> Status {
    std::set<std::uint64_t> named;
    for (const ModelRef& ref : refs) named.insert(ref.object.id);
    const std::lock_guard lock(mutex_);
    std::erase_if(young_, [&](std::uint64_t object) { return named.contains(object); });
    std::erase_if(models_,
                  [&](const auto& item) { return !named.contains(item.first) && !young_.contains(item.first); });
    return {};
  });
}

Status MemoryModels::discard(const ModelRef& ref) {
  return carry_out(faults_, StoreOperation::kModelDelete, [&]() -> Status {
    const std::lock_guard lock(mutex_);
    young_.erase(ref.object.id);
    models_.erase(ref.object.id);
    return {};
  });
}

void MemoryModels::crash() {
  const std::lock_guard lock(mutex_);
  young_.clear();
}

void MemoryStore::crash() {
  faults = {};
  bodies.crash();
  models.crash();
}

}  // namespace shoal::coordinator
