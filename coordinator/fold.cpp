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
#include "coordinator/fold_runs.h"

namespace shoal::coordinator {
namespace {

using compression::kTileFloats;

constexpr std::uint64_t kColumnFloats = protocol::kChunkBytes / sizeof(float);
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

// Part of a run within a column.
struct Slice {
  const FoldRun* run;
  std::uint64_t skip;   // floats of the run before it
  std::uint64_t count;  // floats
  std::uint64_t at;     // where it begins in the column

  std::uint64_t model() const { return run->model + skip; }
};

// A worker's memory: one column, and a tile.
struct Workspace {
  std::vector<Slice> slices;
  std::vector<std::int64_t> sum;
  std::vector<float> model;
  std::array<std::vector<float>, 2> state;
  std::vector<float> tile, before;
  std::vector<float> gap;  // what lies between slices, on its way from the previous model
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
        runs_(fold_runs(fold, options.plans)),
        trained_(runs_.empty() ? 0 : runs_.back().packed + runs_.back().count),
        columns_((trained_ + kColumnFloats - 1) / kColumnFloats) {}

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
    Workspace space;
    SHOAL_TRY(copy_up_to(options_.floats, space));
    return squares_;
  }

 private:
  Status check_bodies() const {
    for (const action::Fold::Entry& entry : fold_.entries) {
      const Result<std::uint64_t> bytes = updates_.bytes(entry.assignment);
      if (!bytes.ok()) return name(entry.assignment, bytes.error());
      const std::uint64_t floats = options_.plans[entry.plan].floats();
      if (*bytes != floats * sizeof(float))
        return name(entry.assignment, Error(ErrorCode::kCorrupt, "its body holds " + std::to_string(*bytes) +
                                                                     " bytes, and its plan trains " +
                                                                     std::to_string(floats) + " floats"));
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
    const std::uint64_t floats = std::min<std::uint64_t>(kColumnFloats, trained_ - first);
    cut(first, floats, space.slices);
    space.begin_column(floats, arrays_);
    for (const action::Fold::Entry& entry : fold_.entries)
      if (Status added = add_update(entry, space); !added.ok()) return name(entry.assignment, std::move(added).error());
    for (const Slice& slice : space.slices) {
      SHOAL_TRY(read_previous(slice, space));
      for (std::uint64_t at = 0; at < slice.count; at += kTileFloats)
        squares += step(*slice.run, slice.at + at, std::min<std::uint64_t>(kTileFloats, slice.count - at), space);
    }
    return {};
  }

  // The slices of a column.
  void cut(std::uint64_t first, std::uint64_t floats, std::vector<Slice>& slices) const {
    slices.clear();
    auto run = std::prev(std::upper_bound(runs_.begin(), runs_.end(), first,
                                          [](std::uint64_t f, const FoldRun& r) { return f < r.packed; }));
    for (std::uint64_t at = 0; at < floats; ++run) {
      const std::uint64_t skip = first + at - run->packed, count = std::min(run->count - skip, floats - at);
      slices.push_back({&*run, skip, count, at});
      at += count;
    }
  }

  // The server optimizer on `count` floats of the column from `at` on; the sum of the squared changes.
  double step(const FoldRun& run, std::uint64_t at, std::uint64_t count, Workspace& space) const {
    const std::span<float> update = std::span(space.tile).first(count), before = std::span(space.before).first(count);
    const std::span<float> model = std::span(space.model).subspan(at, count);
    const auto state = [&](int array) {
      return array < arrays_ ? std::span(space.state[array]).subspan(at, count) : std::span<float>();
    };
    aggregation::report(std::span(space.sum).subspan(at, count), options_.scale, run.factor, update);
    std::copy(model.begin(), model.end(), before.begin());
    aggregation::server_step(options_.optimizer, update, model, state(0), state(1));
    return squared_distance(model, before);
  }

  // Chunks are read in order, each once: an update's floats are in the model's order.
  Status add_update(const action::Fold::Entry& entry, Workspace& space) const {
    std::optional<std::uint64_t> open;
    std::span<const std::byte> bytes;
    for (const Slice& slice : space.slices) {
      const std::optional<std::uint64_t> begin = slice.run->update[entry.plan];
      if (!begin || entry.weight.q16 == 0) continue;
      for (std::uint64_t done = 0; done < slice.count;) {
        const std::uint64_t place = *begin + slice.skip + done, chunk = place / kColumnFloats;
        if (open != chunk) {
          SHOAL_TRY_ASSIGN(bytes, updates_.read(entry.assignment, static_cast<std::uint32_t>(chunk), space.chunk));
          open = chunk;
        }
        const std::uint64_t within = place % kColumnFloats;
        const std::uint64_t count = std::min({slice.count - done, kColumnFloats - within, std::uint64_t{kTileFloats}});
        if (bytes.size() < (within + count) * sizeof(float))
          return Error(ErrorCode::kCorrupt, "chunk " + std::to_string(chunk) + " is cut short");
        const std::span<float> tile = std::span(space.tile).first(count);
        compression::decode_f32(bytes.subspan(within * sizeof(float), tile.size_bytes()), tile);
        aggregation::accumulate(tile, entry.weight, options_.scale,
                                std::span(space.sum).subspan(slice.at + done, count));
        done += count;
      }
    }
    return {};
  }

  Status read_previous(const Slice& slice, Workspace& space) const {
    SHOAL_TRY(read_model(slice.model(), std::span(space.model).subspan(slice.at, slice.count)));
    for (int a = 0; a < arrays_; ++a)
      SHOAL_TRY(read_state(a, slice.model(), std::span(space.state[a]).subspan(slice.at, slice.count)));
    return {};
  }

  Status read_model(std::uint64_t first, std::span<float> values) const {
    return previous_.read(header_bytes_ + first * sizeof(float), std::as_writable_bytes(values));
  }

  Status read_state(int array, std::uint64_t first, std::span<float> values) const {
    if (fold_.version > 1) return previous_.read_state(array, first, values);
    std::ranges::fill(values, aggregation::initial_state(options_.optimizer, array));
    return {};
  }

  // Of the worker whose turn it is.
  Status write_column(Workspace& space) {
    for (const Slice& slice : space.slices) {
      SHOAL_TRY(copy_up_to(slice.model(), space));
      SHOAL_TRY(writer_.write(std::as_bytes(std::span(space.model).subspan(slice.at, slice.count))));
      for (int a = 0; a < arrays_; ++a)
        SHOAL_TRY(writer_.write_state(a, std::span(space.state[a]).subspan(slice.at, slice.count)));
      written_ += slice.count;
    }
    return {};
  }

  // What nobody trained stays as it was, and so does the optimizer's state.
  Status copy_up_to(std::uint64_t model, Workspace& space) {
    while (written_ < model) {
      space.gap.resize(std::min<std::uint64_t>(kColumnFloats, model - written_));
      SHOAL_TRY(read_model(written_, space.gap));
      SHOAL_TRY(writer_.write(std::as_bytes(std::span(space.gap))));
      for (int a = 0; a < arrays_; ++a) {
        SHOAL_TRY(read_state(a, written_, space.gap));
        SHOAL_TRY(writer_.write_state(a, space.gap));
      }
      written_ += space.gap.size();
    }
    return {};
  }

  const action::Fold& fold_;
  const FoldOptions& options_;
  const UpdateSource& updates_;
  const ModelReader& previous_;
  ModelWriter& writer_;
  const int arrays_;
  const std::uint64_t header_bytes_;
  const std::vector<FoldRun> runs_;
  const std::uint64_t trained_, columns_;  // floats that the fold changes
  std::uint64_t written_ = 0;              // floats of the new model

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
