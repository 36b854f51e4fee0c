#include "coordinator/segments.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "base/check.h"
#include "coordinator/segment_index.h"

namespace shoal::coordinator {
namespace {

// Write-back is started in pieces of this size: large enough for the disk, early enough that sync() finds little left
// to do.
constexpr std::uint64_t kWriteback = 1 << 20;
constexpr std::string_view kSegmentSuffix = ".segment", kKeySuffix = ".key";

std::string name_of(AssignmentId id) { return "the update of assignment " + std::to_string(id.value); }

class Segments final : public BodyStore {
 public:
  Segments(FileSystem& files, SegmentOptions options) : files_(files), options_(std::move(options)) {}
  Status recover();

  Result<std::uint32_t> open(AssignmentId id, const protocol::ObjectInfo& object) override;
  Status write(AssignmentId id, std::uint32_t chunk, std::span<const std::byte> sealed) override;
  Status prepare(AssignmentId id) override;
  Status sync(AssignmentId id) override;
  Status read(AssignmentId id, std::uint32_t chunk, std::vector<std::byte>& out) const override;
  Result<protocol::ObjectInfo> info(AssignmentId id) const override;
  Status release(std::span<const AssignmentId> ids) override;
  std::vector<AssignmentId> held() const override;
  std::uint64_t bytes_held() const override;

 private:
  // What a release leaves to be done without the lock.
  struct Reclaimed {
    std::vector<std::string> keys;
    std::vector<std::shared_ptr<Segment>> emptied;
    std::vector<std::pair<std::shared_ptr<Segment>, Extent>> punched;
  };

  std::string path_of(std::uint64_t number, std::string_view suffix) const;
  Result<std::shared_ptr<Body>> find(AssignmentId id) const;
  Status count_intact(Body& body) const;
  Status recover_keys(const std::vector<std::string>& names, Periods& periods);
  Status recover_segment(std::uint64_t number, const Periods& periods);

  // With mutex_ held.
  Status reserve(AssignmentId id, const protocol::ObjectInfo& object);
  Status begin_segment(std::uint64_t needed);
  Result<std::shared_ptr<Segment>> make_segment(std::uint64_t needed);
  Status begin_period();
  void forget(Bodies::iterator body, Reclaimed& reclaimed);
  void punch_survived(Reclaimed& reclaimed);
  void lose_unsynced(const Segment& segment);
  bool keep_spare(const std::shared_ptr<Segment>& segment);
  void begin_again(const std::shared_ptr<Segment>& segment);

  Status keep_key(Period& period);
  Status sync_segment(Segment& segment);
  Status reclaim(const Reclaimed& reclaimed);

  FileSystem& files_;
  const SegmentOptions options_;
  mutable std::mutex mutex_;
  Bodies bodies_;
  std::uint64_t bytes_ = 0;                      // sealed, of bodies_
  std::shared_ptr<Segment> active_;              // where the next extent goes; null before the first
  std::vector<std::shared_ptr<Segment>> holed_;  // have dead extents of earlier releases
  std::shared_ptr<Segment> spare_;               // empty, to be written over when the active one is full; may be null
  std::shared_ptr<Period> period_;               // whose key the next header gets; null after a release
  std::uint64_t next_segment_ = 1, next_period_ = 1;
  std::mutex keys_mutex_;  // held while a period's key is made durable
};

std::string Segments::path_of(std::uint64_t number, std::string_view suffix) const {
  char digits[24];
  std::snprintf(digits, sizeof digits, "%08llu", static_cast<unsigned long long>(number));
  return options_.folder + "/" + digits + std::string(suffix);
}

// ---- recovery ----

Status Segments::recover() {
  SHOAL_TRY(files_.make_folder(options_.folder));
  SHOAL_TRY_ASSIGN(const std::vector<std::string> names, files_.list(options_.folder));
  Periods periods;
  SHOAL_TRY(recover_keys(names, periods));
  for (const std::string& name : names)
    if (const auto number = number_in(name, kSegmentSuffix)) SHOAL_TRY(recover_segment(*number, periods));
  for (const auto& [number, period] : periods)
    if (period->bodies == 0) SHOAL_TRY(files_.remove(path_of(number, kKeySuffix)));
  return {};
}

Status Segments::recover_keys(const std::vector<std::string>& names, Periods& periods) {
  for (const std::string& name : names) {
    const auto number = number_in(name, kKeySuffix);
    if (!number) continue;
    next_period_ = std::max(next_period_, *number + 1);
    auto period = std::make_shared<Period>();
    period->number = *number;
    SHOAL_TRY_ASSIGN(const auto file, files_.open(path_of(*number, kKeySuffix)));
    SHOAL_TRY_ASSIGN(const std::size_t bytes, file->read(0, std::as_writable_bytes(std::span(period->key))));
    // A key that was cut off by a crash was never relied on.
    if (bytes < period->key.size()) {
      SHOAL_TRY(files_.remove(path_of(*number, kKeySuffix)));
    } else {
      periods.emplace(*number, std::move(period));
    }
  }
  return {};
}

Status Segments::recover_segment(std::uint64_t number, const Periods& periods) {
  const std::string path = path_of(number, kSegmentSuffix);
  next_segment_ = std::max(next_segment_, number + 1);
  auto segment = std::make_shared<Segment>();
  segment->number = number;
  SHOAL_TRY_ASSIGN(segment->file, files_.open(path));
  SHOAL_TRY_ASSIGN(segment->capacity, segment->file->size());
  segment->used = segment->capacity;
  // What an earlier process wrote without a sync may be in memory only; from here on, everything found is durable.
  SHOAL_TRY(segment->file->sync());
  SHOAL_TRY_ASSIGN(std::vector<std::shared_ptr<Body>> found, find_headers(segment, periods));

  // Space is written over, and an older body's header may still be there. Among overlapping ones the youngest counts.
  std::stable_sort(found.begin(), found.end(),
                   [](const auto& a, const auto& b) { return a->period->number > b->period->number; });
  std::map<std::uint64_t, std::uint64_t> taken;  // begin -> end
  Reclaimed replaced;
  for (const std::shared_ptr<Body>& body : found) {
    const std::uint64_t begin = body->offset, end = begin + extent_bytes(body->object);
    const auto after = taken.lower_bound(begin);
    if ((after != taken.end() && after->first < end) || (after != taken.begin() && std::prev(after)->second > begin))
      continue;
    taken.emplace(begin, end);
    // A second reservation for an assignment replaced the first, whose space was about to be given back.
    if (const auto other = bodies_.find(body->id); other != bodies_.end()) {
      if (is_younger(*other->second, *body)) continue;
      forget(other, replaced);
    }
    bytes_ += body->object.sealed_bytes();
    ++segment->bodies;
    ++body->period->bodies;
    bodies_.emplace(body->id, body);
  }
  if (segment->bodies == 0) SHOAL_TRY(files_.remove(path));
  return reclaim(replaced);
}

// The number of leading chunks whose tags verify.
Status Segments::count_intact(Body& body) const {
  protocol::ChunkCipher cipher(body.object);
  std::vector<std::byte> sealed, plain(std::min<std::uint64_t>(protocol::kChunkBytes, body.object.bytes));
  std::uint32_t intact = 0;
  for (; intact < body.object.chunks(); ++intact) {
    sealed.resize(body.object.sealed_bytes(intact));
    SHOAL_TRY_ASSIGN(const std::size_t bytes, body.segment->file->read(body.at(intact), sealed));
    if (bytes < sealed.size()) break;
    if (!cipher.open(intact, sealed, std::span(plain).first(sealed.size() - protocol::kTagBytes)).ok()) break;
  }
  const std::lock_guard lock(mutex_);
  if (body.counted) return {};
  body.counted = true;
  body.chunks = body.synced = intact;
  body.written_back = intact * kSealedChunk;
  return {};
}

// ---- receiving ----

Result<std::uint32_t> Segments::open(AssignmentId id, const protocol::ObjectInfo& object) {
  std::shared_ptr<Body> held;
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = bodies_.find(id); found != bodies_.end()) held = found->second;
  }
  if (held) SHOAL_TRY(count_intact(*held));

  Reclaimed replaced;
  Status reserved;
  {
    const std::lock_guard lock(mutex_);
    const auto found = bodies_.find(id);
    if (found != bodies_.end() && found->second->object == object) return found->second->chunks;
    if (found != bodies_.end()) {
      if (found->second->synced == found->second->object.chunks())
        return Error(ErrorCode::kInvalid, name_of(id) + " is held already, complete and with other content");
      forget(found, replaced);
    }
    reserved = reserve(id, object);
  }
  SHOAL_TRY(reclaim(replaced));
  if (!reserved.ok()) return std::move(reserved).error().because_of_this("cannot reserve space for " + name_of(id));
  return std::uint32_t{0};
}

Status Segments::reserve(AssignmentId id, const protocol::ObjectInfo& object) {
  const std::uint64_t needed = extent_bytes(object);
  if (!active_ || needed > active_->capacity - active_->used) SHOAL_TRY(begin_segment(needed));
  if (!period_) SHOAL_TRY(begin_period());
  auto body = std::make_shared<Body>();
  body->id = id;
  body->object = object;
  body->segment = active_;
  body->period = period_;
  body->offset = active_->used;
  const Block header = seal_header({id, object}, period_->number, period_->key, {active_->number, active_->used});
  SHOAL_TRY(active_->file->write(body->offset, header));
  active_->used += needed;
  ++active_->bodies;
  ++period_->bodies;
  bytes_ += object.sealed_bytes();
  bodies_.insert_or_assign(id, std::move(body));
  return {};
}

Status Segments::begin_segment(std::uint64_t needed) {
  std::shared_ptr<Segment> next;
  if (spare_ && needed <= spare_->capacity) {
    next = std::move(spare_);
    begin_again(next);
  } else {
    SHOAL_TRY_ASSIGN(next, make_segment(needed));
  }
  const std::shared_ptr<Segment> filled = std::exchange(active_, std::move(next));
  if (filled && filled->bodies == 0) return files_.remove(path_of(filled->number, kSegmentSuffix));
  return {};
}

Result<std::shared_ptr<Segment>> Segments::make_segment(std::uint64_t needed) {
  SHOAL_TRY_ASSIGN(const std::uint64_t free, files_.free_bytes(options_.folder));
  std::uint64_t capacity = std::max(options_.segment_bytes / kBlock * kBlock, needed);
  if (free < capacity + options_.headroom_bytes) capacity = needed;  // the last of the disk, body by body
  if (free < capacity + options_.headroom_bytes)
    return Error(ErrorCode::kExhausted, "the disk is full: " + options_.folder + " has " + std::to_string(free) +
                                            " bytes left, of which " + std::to_string(options_.headroom_bytes) +
                                            " are kept free; make room");
  auto segment = std::make_shared<Segment>();
  segment->number = next_segment_++;
  segment->capacity = capacity;
  const std::string path = path_of(segment->number, kSegmentSuffix);
  SHOAL_TRY_ASSIGN(segment->file, files_.create(path));
  Status made = segment->file->allocate(0, capacity);
  if (made.ok()) made = files_.sync_folder(options_.folder);
  if (made.ok()) return segment;
  segment->file.reset();
  static_cast<void>(files_.remove(path));
  return std::move(made).error();
}

Status Segments::begin_period() {
  auto period = std::make_shared<Period>();
  period->number = next_period_++;
  SHOAL_TRY_ASSIGN(period->key, protocol::make_object_key());
  SHOAL_TRY_ASSIGN(period->file, files_.create(path_of(period->number, kKeySuffix)));
  SHOAL_TRY(period->file->write(0, std::as_bytes(std::span(period->key))));
  period_ = std::move(period);
  return {};
}

Status Segments::write(AssignmentId id, std::uint32_t chunk, std::span<const std::byte> sealed) {
  SHOAL_TRY_ASSIGN(const std::shared_ptr<Body> body, find(id));
  {
    const std::lock_guard lock(mutex_);
    if (!body->counted || chunk != body->chunks || chunk >= body->object.chunks() ||
        sealed.size() != body->object.sealed_bytes(chunk))
      return Error(ErrorCode::kInvalid, "chunk " + std::to_string(chunk) + " of " + name_of(id) +
                                            " is not the next one or has another size");
    ++body->segment->writing;
  }
  Status written = body->segment->file->write(body->at(chunk), sealed);
  // Only whole pages: one that is written out while the next chunk still fills it would be written twice.
  const std::uint64_t end = (chunk * kSealedChunk + sealed.size()) / kBlock * kBlock;
  const bool last = chunk + 1 == body->object.chunks();
  if (written.ok() && end > body->written_back && (last || end - body->written_back >= kWriteback)) {
    body->segment->file->start_writeback(body->offset + kBlock + body->written_back, end - body->written_back);
    body->written_back = end;
  }
  const std::lock_guard lock(mutex_);
  --body->segment->writing;
  if (written.ok()) body->chunks = chunk + 1;
  return written;
}

Status Segments::prepare(AssignmentId id) {
  SHOAL_TRY_ASSIGN(const std::shared_ptr<Body> body, find(id));
  return keep_key(*body->period);
}

// The key becomes durable, and with the folder's names the unlinking of older ones: what they opened may be written
// over.
Status Segments::keep_key(Period& period) {
  const std::lock_guard lock(keys_mutex_);
  if (!period.file) return {};
  if (period.lost) return Error(ErrorCode::kFailed, path_of(period.number, kKeySuffix) + " could not be synced before");
  Status synced = period.file->sync();
  if (synced.ok()) synced = files_.sync_folder(options_.folder);
  period.lost = !synced.ok();
  if (synced.ok()) period.file.reset();
  return synced;
}

Status Segments::sync(AssignmentId id) {
  SHOAL_TRY_ASSIGN(const std::shared_ptr<Body> body, find(id));
  {
    const std::lock_guard lock(mutex_);
    if (body->synced == body->chunks && body->chunks > 0) return {};
  }
  Status synced = keep_key(*body->period);
  if (synced.ok()) synced = body->segment->group.run([&] { return sync_segment(*body->segment); });
  if (synced.ok()) return {};
  const std::lock_guard lock(mutex_);
  lose_unsynced(*body->segment);
  period_.reset();
  return std::move(synced).error().because_of_this("cannot make " + name_of(id) + " durable");
}

// Serves every body whose key is durable and whose chunks were written before.
Status Segments::sync_segment(Segment& segment) {
  std::vector<std::pair<std::shared_ptr<Body>, std::uint32_t>> covered;
  {
    const std::scoped_lock lock(keys_mutex_, mutex_);
    for (const auto& [id, body] : bodies_)
      if (body->segment.get() == &segment && body->counted && !body->period->file)
        covered.emplace_back(body, body->chunks);
  }
  SHOAL_TRY(segment.file->sync());
  const std::lock_guard lock(mutex_);
  for (const auto& [body, chunks] : covered) body->synced = std::max(body->synced, chunks);
  return {};
}

// After a failed sync the kernel may have dropped any of the segment's unwritten pages, and would call the next sync a
// success.
void Segments::lose_unsynced(const Segment& segment) {
  Reclaimed left;  // not carried out: a disk that fails is not asked for more
  for (auto body = bodies_.begin(); body != bodies_.end();) {
    const auto next = std::next(body);
    const Body& b = *body->second;
    if (b.segment.get() == &segment && b.counted && (b.chunks > b.synced || b.synced == 0)) forget(body, left);
    body = next;
  }
  if (active_.get() == &segment) active_.reset();
}

// ---- reading and releasing ----

Result<std::shared_ptr<Body>> Segments::find(AssignmentId id) const {
  const std::lock_guard lock(mutex_);
  const auto found = bodies_.find(id);
  if (found == bodies_.end()) return Error(ErrorCode::kNotFound, name_of(id) + " is not held");
  return found->second;
}

Status Segments::read(AssignmentId id, std::uint32_t chunk, std::vector<std::byte>& out) const {
  SHOAL_TRY_ASSIGN(const std::shared_ptr<Body> body, find(id));
  {
    const std::lock_guard lock(mutex_);
    if (chunk >= (body->counted ? body->chunks : body->object.chunks()))
      return Error(ErrorCode::kNotFound, "chunk " + std::to_string(chunk) + " of " + name_of(id) + " is not held");
  }
  out.resize(body->object.sealed_bytes(chunk));
  SHOAL_TRY_ASSIGN(const std::size_t bytes, body->segment->file->read(body->at(chunk), out));
  if (bytes < out.size())
    return Error(ErrorCode::kCorrupt, name_of(id) + " is cut off in " + path_of(body->segment->number, kSegmentSuffix));
  return {};
}

Result<protocol::ObjectInfo> Segments::info(AssignmentId id) const {
  SHOAL_TRY_ASSIGN(const std::shared_ptr<Body> body, find(id));
  return body->object;
}

Status Segments::release(std::span<const AssignmentId> ids) {
  Reclaimed reclaimed;
  {
    const std::lock_guard lock(mutex_);
    const std::size_t before = bodies_.size();
    punch_survived(reclaimed);
    for (AssignmentId id : ids)
      if (const auto found = bodies_.find(id); found != bodies_.end()) forget(found, reclaimed);
    // Bodies that come from here on belong to the next period, so that this one's key can go.
    if (bodies_.size() < before) period_.reset();
  }
  SHOAL_TRY(reclaim(reclaimed));
  const std::lock_guard lock(mutex_);
  if (active_ && active_->bodies == 0 && active_->writing == 0) begin_again(active_);
  return {};
}

// An empty segment is written over: that is much cheaper to sync than space that was never written, since the file
// system has nothing to note. Nothing there opens any more: the keys are unlinked, and durably so before the next body
// is, which belongs to a new period.
void Segments::begin_again(const std::shared_ptr<Segment>& segment) {
  segment->used = 0;
  segment->dead.clear();
  std::erase(holed_, segment);
  period_.reset();
}

void Segments::forget(Bodies::iterator body, Reclaimed& reclaimed) {
  Body& b = *body->second;
  bytes_ -= b.object.sealed_bytes();
  --b.segment->bodies;
  if (--b.period->bodies == 0) {
    reclaimed.keys.push_back(path_of(b.period->number, kKeySuffix));
    if (period_ == b.period) period_.reset();
  }
  if (b.segment->dead.empty()) holed_.push_back(b.segment);
  b.segment->dead.push_back({b.offset, extent_bytes(b.object)});
  if (b.segment->bodies == 0) {
    if (b.segment != active_) reclaimed.emptied.push_back(b.segment);
    std::erase_if(reclaimed.punched, [&](const auto& other) { return other.first == b.segment; });
  }
  bodies_.erase(body);
}

// What was released before, in segments that did not empty since.
void Segments::punch_survived(Reclaimed& reclaimed) {
  std::erase_if(holed_, [&](const std::shared_ptr<Segment>& segment) {
    if (segment == active_ && segment->bodies > 0) return false;
    if (segment->bodies > 0)
      for (const Extent& extent : segment->dead) reclaimed.punched.emplace_back(segment, extent);
    segment->dead.clear();
    return true;
  });
}

// Keys first: their going is what makes the bodies unreadable.
Status Segments::reclaim(const Reclaimed& reclaimed) {
  Status status;
  for (const std::string& path : reclaimed.keys)
    if (Status removed = files_.remove(path); !removed.ok()) status = removed;
  for (const auto& segment : reclaimed.emptied) {
    if (status.ok() && keep_spare(segment)) continue;
    if (Status removed = files_.remove(path_of(segment->number, kSegmentSuffix)); !removed.ok()) status = removed;
  }
  // Under the lock: a segment that has emptied meanwhile may be written over at once.
  const std::lock_guard lock(mutex_);
  for (const auto& [segment, extent] : reclaimed.punched)
    if (segment->bodies > 0 && segment != active_) segment->file->punch(extent.offset, extent.bytes);
  return status;
}

bool Segments::keep_spare(const std::shared_ptr<Segment>& segment) {
  const std::lock_guard lock(mutex_);
  if (spare_ || segment->writing > 0 || segment->capacity != options_.segment_bytes / kBlock * kBlock) return false;
  spare_ = segment;
  return true;
}

std::vector<AssignmentId> Segments::held() const {
  const std::lock_guard lock(mutex_);
  std::vector<AssignmentId> ids;
  ids.reserve(bodies_.size());
  for (const auto& [id, body] : bodies_) ids.push_back(id);
  return ids;
}

std::uint64_t Segments::bytes_held() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

}  // namespace

Result<std::unique_ptr<BodyStore>> open_segments(FileSystem& files, SegmentOptions options) {
  auto segments = std::make_unique<Segments>(files, std::move(options));
  if (Status recovered = segments->recover(); !recovered.ok())
    return std::move(recovered).error().because_of_this("cannot open the stored updates");
  return std::unique_ptr<BodyStore>(std::move(segments));
}

}  // namespace shoal::coordinator
