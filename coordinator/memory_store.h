// The three stores in memory: for the simulator and for tests, which may crash them.
//
// They keep the promises of store.h, apart from outliving the process: what was not synced is kept apart, and crash()
// loses it.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/fold.h"
#include "coordinator/store.h"

namespace shoal::coordinator {

// The operations that touch the disk in a real store.
enum class StoreOperation : std::uint8_t {
  kAppend,
  kCommit,
  kPut,
  kBodyOpen,
  kBodyWrite,
  kBodySync,
  kBodyRelease,
  kModelWrite,
  kModelFinish,
  kModelDelete
};

// Asked around every operation. `before` returning an error: it does not happen. `after` returning an error: it has
// happened, but the caller is not told so, as in a crash between the disk and the answer. Called on the operation's
// thread.
struct StoreFaults {
  std::function<Status(StoreOperation)> before, after;
};

// Journal and named rows. Its owner's thread only.
class MemoryJournal final : public Journal {
 public:
  explicit MemoryJournal(const StoreFaults& faults) : faults_(faults) {}

  Result<Recovered> recover() override;
  Status append(std::span<const JournalRecord> records) override;
  Status commit(const Commit& commit) override;
  Status put(std::string_view table, std::string_view key, std::string_view value) override;
  Result<std::optional<std::string>> get(std::string_view table, std::string_view key) override;
  Result<std::vector<std::pair<std::string, std::string>>> scan(std::string_view table) override;

 private:
  const StoreFaults& faults_;
  Recovered state_;
  std::uint64_t last_ = 0;  // sequence of the newest record
  std::map<std::pair<std::string, std::string>, std::string, std::less<>> rows_;
};

// Bodies as they came. As an UpdateSource it gives plain bodies without a copy and opens sealed ones.
class MemoryBodies final : public BodyStore, public UpdateSource {
 public:
  explicit MemoryBodies(const StoreFaults& faults) : faults_(faults) {}

  Result<std::uint32_t> open(AssignmentId id, const protocol::ObjectInfo& object) override;
  Status write(AssignmentId id, std::uint32_t chunk, std::span<const std::byte> sealed) override;
  Status sync(AssignmentId id) override;
  Status read(AssignmentId id, std::uint32_t chunk, std::vector<std::byte>& out) const override;
  Result<protocol::ObjectInfo> info(AssignmentId id) const override;
  Status release(std::span<const AssignmentId> ids) override;
  std::vector<AssignmentId> held() const override;
  std::uint64_t bytes_held() const override;

  // A whole body that never crosses a wire, hence unsealed: its deltas, taken over. Durable after sync().
  Status put(AssignmentId id, std::vector<float> deltas);
  // UpdateSource.
  Result<std::uint64_t> bytes(AssignmentId id) const override;
  Result<std::span<const std::byte>> read(AssignmentId id, std::uint32_t chunk, ChunkScratch& scratch) const override;

  void crash();

 private:
  struct Body {
    protocol::ObjectInfo object;
    std::vector<std::byte> sealed;  // the chunks that are held
    std::vector<float> deltas;      // instead of it, after put()
    bool unsealed = false;
    std::uint32_t chunks = 0;  // leading ones that are held
    std::uint32_t synced = 0;  // that a crash leaves

    bool complete() const { return chunks == object.chunks(); }
  };

  Result<std::shared_ptr<const Body>> find(AssignmentId id) const;

  const StoreFaults& faults_;
  mutable std::mutex mutex_;
  std::map<AssignmentId, std::shared_ptr<Body>> bodies_;
  std::vector<std::vector<std::byte>> room_;  // of the bodies released last, for those that come next
};

// A version's safetensors file and optimizer state; immutable and shared once finished.
class MemoryModel {
 public:
  ModelRef ref;
  std::vector<std::byte> file;
  std::vector<std::vector<float>> state;

  // As devices download it. Made at the first call, since most versions in simulations are never downloaded.
  // Thread-safe.
  const std::vector<std::byte>& sealed() const;

 private:
  mutable std::once_flag made_;
  mutable std::vector<std::byte> sealed_;
};

class MemoryModels final : public ModelStore {
 public:
  explicit MemoryModels(const StoreFaults& faults) : faults_(faults) {}

  Result<std::unique_ptr<ModelWriter>> create(JobId job, Version version, int state_arrays) override;
  Result<std::unique_ptr<ModelReader>> open(const ModelRef& ref) const override;
  Status keep_only(std::span<const ModelRef> refs) override;
  Status discard(const ModelRef& ref) override;
  // What no keep_only() has named is lost with the process.
  void crash();

  // The version itself, without a copy.
  Result<std::shared_ptr<const MemoryModel>> find(const ModelRef& ref) const;

 private:
  class Writer;

  const StoreFaults& faults_;
  mutable std::mutex mutex_;
  std::map<std::uint64_t, std::shared_ptr<const MemoryModel>> models_;  // by object id
  std::set<std::uint64_t> young_;  // objects finished here that no keep_only() has named
  std::uint64_t next_object_ = 1;
};

// All three over one set of faults. Neither copied nor moved: the parts refer to `faults`.
struct MemoryStore {
  MemoryStore() = default;
  MemoryStore(const MemoryStore&) = delete;
  MemoryStore& operator=(const MemoryStore&) = delete;

  // The process died: what was not synced is gone, and the faults are cleared.
  void crash();

  StoreFaults faults;
  MemoryJournal journal{faults};
  MemoryBodies bodies{faults};
  MemoryModels models{faults};
};

}  // namespace shoal::coordinator
