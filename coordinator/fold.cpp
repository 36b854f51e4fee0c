#include "coordinator/fold.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "compression/codec.h"
#include "compression/f32.h"

namespace shoal::coordinator {
namespace {

using compression::kTileFloats;

constexpr std::size_t kColumnFloats = protocol::kChunkBytes / sizeof(float);
static_assert(kColumnFloats % kTileFloats == 0, "a column is whole tiles");

// Added in eight lanes: one fixed order, and one that the processor can do eight at a time.
double squared_distance(std::span<const float> a, std::span<const float> b) {
  std::array<double, 8> lanes{};
  std::size_t i = 0;
  for (; i + lanes.size() <= a.size(); i += lanes.size()) {
    for (std::size_t j = 0; j < lanes.size(); ++j) {
      const double d = static_cast<double>(a[i + j]) - static_cast<double>(b[i + j]);
      lanes[j] += d * d;
    }
  }
  for (; i < a.size(); ++i) {
    const double d = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    lanes[i % lanes.size()] += d * d;
  }
  double sum = 0;
  for (double lane : lanes) sum += lane;
  return sum;
}

// A worker's memory: one column, and a tile.
struct Workspace {
  std::vector<std::int64_t> sum;
  std::vector<float> model;
  std::array<std::vector<float>, 2> state;
  std::vector<float> tile, before;
  ChunkScratch chunk;

  void begin_column(std::size_t floats, int state_arrays) {
    sum.assign(floats, 0);
    model.resize(floats);
    for (int a = 0; a < state_arrays; ++a) state[a].resize(floats);
    tile.resize(std::min(floats, kTileFloats));
    before.resize(tile.size());
  }
};

// One fold, shared by its workers.
class Pass {
 public:
  Pass(const action::Fold& fold, const FoldOptions& options, const UpdateSource& updates, const ModelReader& previous,
       ModelWriter& writer)
      : fold_(fold),
        options_(options),
        updates_(updates),
        previous_(previous),
        writer_(writer),
        arrays_(aggregation::state_arrays(options.optimizer.name)),
        header_bytes_(previous.bytes() - options.floats * sizeof(float)),
        columns_((options.floats + kColumnFloats - 1) / kColumnFloats) {}

  // The sum of the squared changes.
  Result<double> run() {
    SHOAL_TRY(check_bodies());
    SHOAL_TRY(copy_header());
    const auto workers = std::min<std::uint64_t>(std::max(options_.workers, 1), std::max<std::uint64_t>(columns_, 1));
    {
      std::vector<std::jthread> helpers;
      for (std::uint64_t i = 1; i < workers; ++i) helpers.emplace_back([this] { work(); });
      work();
    }
    if (error_) return std::move(*error_);
    return squares_;
  }

 private:
  Status check_bodies() const {
    for (const action::Fold::Entry& entry : fold_.entries) {
      const Result<std::uint64_t> bytes = updates_.bytes(entry.assignment);
      if (!bytes.ok()) return name(entry.assignment, bytes.error());
      if (*bytes != options_.floats * sizeof(float))
        return name(entry.assignment,
                    Error(ErrorCode::kCorrupt, "its body holds " + std::to_string(*bytes) + " bytes for a model of " +
                                                   std::to_string(options_.floats) + " floats"));
    }
    return {};
  }

  static Error name(AssignmentId assignment, Error error) {
    return std::move(error).because_of_this("the update of assignment " + std::to_string(assignment.value) +
                                            " cannot be folded");
  }

  Status copy_header() {
    SHOAL_TRY(writer_.expect(previous_.bytes()));
    std::vector<std::byte> part;
    for (std::uint64_t at = 0; at < header_bytes_; at += part.size()) {
      part.resize(std::min<std::uint64_t>(header_bytes_ - at, protocol::kChunkBytes));
      SHOAL_TRY(previous_.read(at, part));
      SHOAL_TRY(writer_.write(part));
    }
    return {};
  }

  void work() {
    Workspace space;
    for (;;) {
      std::uint64_t column = 0;
      {
        const std::lock_guard lock(mutex_);
        if (next_to_take_ == columns_ || error_) return;
        column = next_to_take_++;
      }
      double squares = 0;
      Status made = make_column(column, space, squares);
      std::unique_lock lock(mutex_);
      turn_.wait(lock, [&] { return next_to_write_ == column || error_; });
      if (next_to_write_ != column) return;  // an earlier column failed
      // The turn is this worker's own: writing needs no lock.
      lock.unlock();
      if (made.ok()) made = write_column(space);
      lock.lock();
      if (made.ok()) {
        squares_ += squares;
        ++next_to_write_;
      } else {
        error_ = std::move(made).error();
      }
      turn_.notify_all();
    }
  }

  Status make_column(std::uint64_t column, Workspace& space, double& squares) const {
    const std::uint64_t first = column * kColumnFloats;
    space.begin_column(std::min<std::uint64_t>(kColumnFloats, options_.floats - first), arrays_);
    for (const action::Fold::Entry& entry : fold_.entries)
      if (Status added = add_update(entry, static_cast<std::uint32_t>(column), space); !added.ok())
        return name(entry.assignment, std::move(added).error());
    SHOAL_TRY(previous_.read(header_bytes_ + first * sizeof(float), std::as_writable_bytes(std::span(space.model))));
    SHOAL_TRY(read_state(first, space));
    const std::size_t floats = space.model.size();
    for (std::size_t at = 0; at < floats; at += kTileFloats) {
      const std::size_t n = std::min(kTileFloats, floats - at);
      const std::span<float> update = std::span(space.tile).first(n), before = std::span(space.before).first(n);
      const std::span<float> model = std::span(space.model).subspan(at, n);
      const auto state = [&](int array) {
        return array < arrays_ ? std::span(space.state[array]).subspan(at, n) : std::span<float>();
      };
      aggregation::report(std::span(space.sum).subspan(at, n), options_.scale, fold_.scale, update);
      std::copy(model.begin(), model.end(), before.begin());
      aggregation::server_step(options_.optimizer, update, model, state(0), state(1));
      squares += squared_distance(model, before);
    }
    return {};
  }

  Status add_update(const action::Fold::Entry& entry, std::uint32_t chunk, Workspace& space) const {
    SHOAL_TRY_ASSIGN(const std::span<const std::byte> bytes, updates_.read(entry.assignment, chunk, space.chunk));
    const std::size_t floats = space.sum.size();
    if (bytes.size() != floats * sizeof(float))
      return Error(ErrorCode::kCorrupt, "chunk " + std::to_string(chunk) + " is cut short");
    for (std::size_t at = 0; at < floats; at += kTileFloats) {
      const std::span<float> tile = std::span(space.tile).first(std::min(kTileFloats, floats - at));
      compression::decode_f32(bytes.subspan(at * sizeof(float), tile.size_bytes()), tile);
      aggregation::accumulate(tile, entry.weight, options_.scale, std::span(space.sum).subspan(at, tile.size()));
    }
    return {};
  }

  Status read_state(std::uint64_t first, Workspace& space) const {
    for (int a = 0; a < arrays_; ++a) {
      if (fold_.version == 1) {
        std::fill(space.state[a].begin(), space.state[a].end(), aggregation::initial_state(options_.optimizer, a));
      } else {
        SHOAL_TRY(previous_.read_state(a, first, space.state[a]));
      }
    }
    return {};
  }

  Status write_column(const Workspace& space) const {
    SHOAL_TRY(writer_.write(std::as_bytes(std::span(space.model))));
    for (int a = 0; a < arrays_; ++a) SHOAL_TRY(writer_.write_state(a, space.state[a]));
    return {};
  }

  const action::Fold& fold_;
  const FoldOptions& options_;
  const UpdateSource& updates_;
  const ModelReader& previous_;
  ModelWriter& writer_;
  const int arrays_;
  const std::uint64_t header_bytes_, columns_;

  std::mutex mutex_;
  std::condition_variable turn_;  // next_to_write_ or error_ changed
  std::uint64_t next_to_take_ = 0, next_to_write_ = 0;
  double squares_ = 0;
  std::optional<Error> error_;  // of the first column that failed
};

}  // namespace

Result<std::uint64_t> SealedUpdates::bytes(AssignmentId id) const {
  SHOAL_TRY_ASSIGN(const protocol::ObjectInfo object, bodies_.info(id));
  return object.bytes;
}

Result<std::span<const std::byte>> SealedUpdates::read(AssignmentId id, std::uint32_t chunk,
                                                       ChunkScratch& scratch) const {
  SHOAL_TRY_ASSIGN(const protocol::ObjectInfo object, bodies_.info(id));
  return open_chunk(bodies_, id, object, chunk, scratch);
}

Result<std::span<const std::byte>> open_chunk(const BodyStore& bodies, AssignmentId id,
                                              const protocol::ObjectInfo& object, std::uint32_t chunk,
                                              ChunkScratch& scratch) {
  SHOAL_TRY(bodies.read(id, chunk, scratch.sealed));
  if (chunk >= object.chunks() || scratch.sealed.size() != object.sealed_bytes(chunk))
    return Error(ErrorCode::kCorrupt,
                 "chunk " + std::to_string(chunk) + " of body " + std::to_string(id.value) + " is not whole");
  scratch.plain.resize(scratch.sealed.size() - protocol::kTagBytes);
  protocol::ChunkCipher cipher(object);
  SHOAL_TRY(cipher.open(chunk, scratch.sealed, scratch.plain));
  return std::span<const std::byte>(scratch.plain);
}

Result<FoldResult> fold_updates(const action::Fold& fold, const FoldOptions& options, const UpdateSource& updates,
                                const ModelReader& previous, std::unique_ptr<ModelWriter> writer) {
  const std::string what =
      "version " + std::to_string(fold.version) + " of job " + std::to_string(fold.job.value) + " was not made";
  if (previous.bytes() < options.floats * sizeof(float))
    return Error(ErrorCode::kCorrupt, "the previous model's file is shorter than its tensors").because_of_this(what);
  Result<double> squares = Pass(fold, options, updates, previous, *writer).run();
  if (!squares.ok()) return std::move(squares).error().because_of_this(what);
  if (!std::isfinite(*squares))
    return Error(ErrorCode::kInvalid, "its values are not finite; lower the server's learning rate or the update bound")
        .because_of_this(what);
  Result<ModelRef> model = std::move(*writer).finish();
  if (!model.ok()) return std::move(model).error().because_of_this(what);
  return FoldResult{std::move(*model), std::sqrt(*squares)};
}

}  // namespace shoal::coordinator
