// What the coordinator keeps on disk, as three interfaces: the journal of events, bodies of updates, and model files.
//
// Rule of order: a body is synced before the event that names it is appended; a new model's file is synced before the
// commit that refers to it; only then are old bodies and versions released. Nothing is acknowledged before append()
// or commit() has returned.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"
#include "coordinator/event.h"
#include "protocol/sealed_object.h"

namespace shoal::coordinator {

// One stepped event. `actions` is a 64-bit hash of the encoded actions, so that a replay can prove itself identical.
struct JournalRecord {
  std::uint64_t sequence = 0;  // 1, 2, 3, ... without gaps over the life of the data folder
  Time now{};
  Event event;
  std::uint64_t actions = 0;
  template <class A>
  void fields(A& a) {
    a(sequence, now, event, actions);
  }
};

// A committed model version of a job.
struct ModelRef {
  JobId job;
  Version version = 0;
  Digest digest;                // SHA-256 of the safetensors file
  std::uint64_t bytes = 0;      // of that file
  protocol::ObjectInfo object;  // the sealed copy that devices download
  template <class A>
  void fields(A& a) {
    a(job, version, digest, bytes, object);
  }
};

struct Commit {
  std::uint64_t sequence = 0;          // the snapshot includes every event up to here
  std::string snapshot;                // Machine::save()
  Time now{};                          // persisted time
  std::vector<JournalRecord> records;  // up to `sequence`, never appended: only for the archive
  std::vector<ModelRef> added;
  std::vector<std::pair<JobId, Version>> dropped;
  std::vector<AssignmentId> released;  // bodies folded or discarded
};

struct Recovered {
  std::uint64_t sequence = 0;          // of the snapshot
  std::string snapshot;                // empty for a new folder
  Time now{};                          // the latest time in snapshot or records
  std::vector<JournalRecord> records;  // after the snapshot, in order
  std::vector<ModelRef> models;
};

// The journal's table of settings, and the row that says that no round was open when the coordinator stopped: another
// build may then take the snapshot over.
inline constexpr std::string_view kSettingsTable = "settings";
inline constexpr std::string_view kQuietKey = "quiet";

// The journal's owner is the coordinator's owner thread. Named rows ("devices", "invitations", "settings") live beside
// it.
class Journal {
 public:
  virtual ~Journal() = default;
  virtual Result<Recovered> recover() = 0;  // once, before anything else
  // All records or none, durable on return. kExhausted when the disk is full: nothing was written, try again later.
  virtual Status append(std::span<const JournalRecord> records) = 0;
  // One atomic, durable batch. Records up to commit.sequence may be forgotten (or archived, when replay is wanted).
  virtual Status commit(const Commit& commit) = 0;
  // Small named tables, durable on return. An empty value deletes the row.
  virtual Status put(std::string_view table, std::string_view key, std::string_view value) = 0;
  virtual Result<std::optional<std::string>> get(std::string_view table, std::string_view key) = 0;
  virtual Result<std::vector<std::pair<std::string, std::string>>> scan(std::string_view table) = 0;
};

// Sealed bodies of updates, as they came. Thread-safe: the bulk thread writes, fold workers read, the owner releases.
class BodyStore {
 public:
  virtual ~BodyStore() = default;
  // Reserves room for the body, or finds what an earlier try left; returns how many leading chunks are held and intact.
  // A different object under the same assignment replaces what was there, unless that one is complete and synced.
  virtual Result<std::uint32_t> open(AssignmentId id, const protocol::ObjectInfo& object) = 0;
  // Chunks come in order, each sealed (with its tag). Early write-back is started; not yet durable.
  virtual Status write(AssignmentId id, std::uint32_t chunk, std::span<const std::byte> sealed) = 0;
  // Optional, after open(): does early, beside the writing, what sync() would have to wait for.
  virtual Status prepare(AssignmentId id) {
    static_cast<void>(id);
    return {};
  }
  // Durable on return: every chunk and the key that opens it.
  virtual Status sync(AssignmentId id) = 0;
  // The sealed chunk into `out` (resized).
  virtual Status read(AssignmentId id, std::uint32_t chunk, std::vector<std::byte>& out) const = 0;
  virtual Result<protocol::ObjectInfo> info(AssignmentId id) const = 0;
  // Gives the space and the keys back. Unknown ids are ignored (a replayed release).
  virtual Status release(std::span<const AssignmentId> ids) = 0;
  virtual std::vector<AssignmentId> held() const = 0;
  virtual std::uint64_t bytes_held() const = 0;
};

// A model version being written: plain safetensors bytes, in order. Sealed and hashed on the way.
class ModelWriter {
 public:
  virtual ~ModelWriter() = default;
  // Optional, before the first write(): how long the file will be. It can then be sealed as it comes, without a second
  // pass.
  virtual Status expect(std::uint64_t bytes) {
    static_cast<void>(bytes);
    return {};
  }
  virtual Status write(std::span<const std::byte> bytes) = 0;
  // Optimizer state of this version, one flat float32 file an array, in order; written beside the model.
  virtual Status write_state(int array, std::span<const float> values) = 0;
  // Everything synced; the reference is for the next commit. Without finish() nothing remains.
  virtual Result<ModelRef> finish() && = 0;
};

// One version's files, open for reading at any offset. Thread-safe.
class ModelReader {
 public:
  virtual ~ModelReader() = default;
  virtual std::uint64_t bytes() const = 0;  // of the safetensors file
  virtual Status read(std::uint64_t offset, std::span<std::byte> out) const = 0;
  virtual Status read_state(int array, std::uint64_t first, std::span<float> out) const = 0;
  // A sealed chunk as devices download it.
  virtual Status read_sealed(std::uint32_t chunk, std::vector<std::byte>& out) const = 0;
};

class ModelStore {
 public:
  virtual ~ModelStore() = default;
  virtual Result<std::unique_ptr<ModelWriter>> create(JobId job, Version version, int state_arrays) = 0;
  virtual Result<std::unique_ptr<ModelReader>> open(const ModelRef& ref) const = 0;
  // Deletes every file that no reference names (after recovery, and after commits that drop versions), but for
  // versions that are being written or were finished since and wait for their commit.
  virtual Status keep_only(std::span<const ModelRef> refs) = 0;
  // Deletes a finished version that no commit will name.
  virtual Status discard(const ModelRef& ref) = 0;
};

}  // namespace shoal::coordinator
