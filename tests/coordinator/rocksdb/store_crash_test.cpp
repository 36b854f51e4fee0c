// Journal, bodies and model files over one disk that loses what was not synced, with the power failing anywhere.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/archive.h"
#include "coordinator/model_files.h"
#include "coordinator/rocksdb/journal.h"
#include "coordinator/segments.h"
#include "protocol/sha256.h"
#include "tests/coordinator/rocksdb/faulty_env.h"
#include "tests/support/faulty_files.h"
#include "tests/support/sample_object.h"

namespace shoal::coordinator {
namespace {

using tests::FaultyFiles;
using tests::SampleObject;

constexpr JobId kJob{1};

// A coordinator reduced to its use of the store: bodies come and are named by events; every few of them a commit makes
// a model version, forgets the events and releases the bodies. Its snapshot is the list of what it has acknowledged so
// far.
class CrashRun {
 public:
  explicit CrashRun(std::uint64_t seed)
      : seed_(seed), random_(seed, "store crash"), disk_(seed), env_(tests::faulty_env(disk_)) {}

  void run() {
    for (int life = 0; life < 4; ++life) {
      SCOPED_TRACE(testing::Message() << "life " << life);
      // The first cuts may come while the store is being opened.
      disk_.cut_power_after(1 + random_.below(life % 2 == 0 ? 400 : 60));
      const Status lived = live();
      if (testing::Test::HasFatalFailure()) return;
      ASSERT_TRUE(!lived.ok() && disk_.power_is_cut())
          << (lived.ok() ? "the power was never cut" : lived.error().to_string());
      close();
      disk_.crash();
    }
    disk_.crash();
    ASSERT_TRUE(open().ok());
    verify();
    close();
  }

 private:
  struct Snapshot {
    std::map<std::uint64_t, std::uint64_t> folded;  // assignment -> how often
    Version version = 0;
    std::string padding;  // large enough for RocksDB to write tables now and then
    template <class A>
    void fields(A& a) {
      a(folded, version, padding);
    }
  };

  SampleObject body(std::uint64_t id) const {
    return SampleObject(id, derive_seed(seed_, "size", id) % (id % 6 == 0 ? protocol::kChunkBytes + 5000 : 20'000),
                        derive_seed(seed_, "body", id));
  }
  std::vector<std::byte> model(Version version) const {
    return tests::sample_bytes(derive_seed(seed_, "model", version),
                               1 + derive_seed(seed_, "bytes", version) % 300'000);
  }

  Status open() {
    SHOAL_TRY(disk_.make_folder("/data/journal"));
    JournalOptions options;
    options.folder = "/data/journal";
    options.build = "test";
    options.env = env_.get();
    options.files = &disk_;
    SHOAL_TRY_ASSIGN(journal_, open_journal(options));
    SHOAL_TRY_ASSIGN(bodies_,
                     open_segments(disk_, {.folder = "/data/bodies", .segment_bytes = 1 << 20, .headroom_bytes = 0}));
    SHOAL_TRY_ASSIGN(models_, open_model_files(disk_, "/data/models"));
    return {};
  }
  void close() {
    models_.reset();
    bodies_.reset();
    journal_.reset();
  }

  // Until the power fails.
  Status live() {
    SHOAL_TRY(open());
    verify();
    if (testing::Test::HasFatalFailure()) return {};
    SHOAL_TRY(sweep());
    for (;;) {
      SHOAL_TRY(receive());
      if (received_.size() >= 4) SHOAL_TRY(fold());
    }
  }

  Status sweep() {
    SHOAL_TRY(models_->keep_only(refs_));
    std::vector<AssignmentId> orphans;
    for (AssignmentId id : bodies_->held())
      if (!received_.contains(id.value)) orphans.push_back(id);
    return bodies_->release(orphans);
  }

  Status receive() {
    const std::uint64_t id = next_id_++;
    const SampleObject object = body(id);
    SHOAL_TRY(bodies_->open(AssignmentId{id}, object.info()).ok() ? Status()
                                                                  : Status(Error(ErrorCode::kFailed, "open")));
    for (std::uint32_t chunk = 0; chunk < object.info().chunks(); ++chunk)
      SHOAL_TRY(bodies_->write(AssignmentId{id}, chunk, object.sealed(chunk)));
    SHOAL_TRY(bodies_->sync(AssignmentId{id}));
    event::UpdateReceived update;
    update.assignment = AssignmentId{id};
    const JournalRecord record{sequence_ + 1, Time(Duration(id)), update, id};
    SHOAL_TRY(journal_->append(std::span(&record, 1)));
    ++sequence_;
    received_.insert(id);
    acknowledged_.insert(id);
    return {};
  }

  Status fold() {
    Commit commit;
    Snapshot next = state_;
    ++next.version;
    next.padding = std::string(200'000 + random_.below(200'000), 'p');
    for (std::uint64_t id : received_) {
      ++next.folded[id];
      commit.released.push_back(AssignmentId{id});
    }
    SHOAL_TRY_ASSIGN(auto writer, models_->create(kJob, next.version, 1));
    const std::vector<std::byte> file = model(next.version);
    if (next.version % 2 == 0) SHOAL_TRY(writer->expect(file.size()));
    SHOAL_TRY(writer->write(file));
    SHOAL_TRY(writer->write_state(0, std::vector<float>(9, static_cast<float>(next.version))));
    SHOAL_TRY_ASSIGN(const ModelRef ref, std::move(*writer).finish());
    commit.sequence = sequence_;
    commit.snapshot = encode_state(next);
    commit.added = {ref};
    if (state_.version > 0) commit.dropped = {{kJob, state_.version}};
    SHOAL_TRY(journal_->commit(commit));
    state_ = std::move(next);
    committed_ = state_.version;
    refs_ = {ref};
    received_.clear();
    SHOAL_TRY(bodies_->release(commit.released));
    return models_->keep_only(refs_);
  }

  // Takes over what the store recovers, which holds all that was acknowledged, each once, and nothing half.
  void verify() {
    auto recovered = journal_->recover();
    ASSERT_TRUE(recovered.ok()) << recovered.error().to_string();
    state_ = {};
    if (!recovered->snapshot.empty()) {
      auto state = decode_state<Snapshot>(recovered->snapshot);
      ASSERT_TRUE(state.has_value());
      state_ = std::move(*state);
    }
    ASSERT_GE(state_.version, committed_);
    ASSERT_LE(state_.version, committed_ + 1);
    committed_ = state_.version;
    received_.clear();
    sequence_ = recovered->sequence;
    for (const JournalRecord& record : recovered->records) {
      ASSERT_EQ(record.sequence, ++sequence_);
      const std::uint64_t id = std::get<event::UpdateReceived>(record.event).assignment.value;
      ASSERT_EQ(record.actions, id);
      ASSERT_TRUE(received_.insert(id).second) << "counted twice";
      ASSERT_FALSE(state_.folded.contains(id)) << "folded and yet to be folded";
    }
    for (std::uint64_t id : acknowledged_)
      ASSERT_TRUE(state_.folded.contains(id) || received_.contains(id)) << "lost " << id;
    for (const auto& [id, times] : state_.folded) ASSERT_EQ(times, 1u);
    verify_bodies();
    verify_models(recovered->models);
    for (std::uint64_t id : received_) acknowledged_.insert(id);
  }

  void verify_bodies() {
    for (std::uint64_t id : received_) {
      const SampleObject object = body(id);
      auto held = bodies_->open(AssignmentId{id}, object.info());
      ASSERT_TRUE(held.ok()) << held.error().to_string();
      ASSERT_EQ(*held, object.info().chunks()) << "the body of " << id << " is not whole";
      std::vector<std::byte> sealed;
      for (std::uint32_t chunk = 0; chunk < *held; ++chunk) {
        ASSERT_TRUE(bodies_->read(AssignmentId{id}, chunk, sealed).ok());
        ASSERT_EQ(sealed, object.sealed(chunk));
      }
    }
  }

  void verify_models(const std::vector<ModelRef>& models) {
    ASSERT_EQ(models.size(), state_.version > 0 ? 1u : 0u);
    refs_ = models;
    for (const ModelRef& ref : models) {
      ASSERT_EQ(ref.version, state_.version);
      const std::vector<std::byte> file = model(ref.version);
      ASSERT_EQ(ref.digest, protocol::sha256(file));
      auto reader = models_->open(ref);
      ASSERT_TRUE(reader.ok()) << reader.error().to_string();
      std::vector<std::byte> read(file.size()), sealed, plain(protocol::kChunkBytes);
      ASSERT_TRUE((*reader)->read(0, read).ok());
      ASSERT_EQ(read, file);
      protocol::ChunkCipher cipher(ref.object);
      for (std::uint32_t chunk = 0; chunk < ref.object.chunks(); ++chunk) {
        ASSERT_TRUE((*reader)->read_sealed(chunk, sealed).ok());
        ASSERT_TRUE(cipher.open(chunk, sealed, std::span(plain).first(sealed.size() - protocol::kTagBytes)).ok());
      }
      std::vector<float> values(9);
      ASSERT_TRUE((*reader)->read_state(0, 0, values).ok());
      ASSERT_EQ(values, std::vector<float>(9, static_cast<float>(ref.version)));
    }
  }

  const std::uint64_t seed_;
  Stream random_;
  FaultyFiles disk_;
  std::unique_ptr<rocksdb::Env> env_;
  std::unique_ptr<Journal> journal_;
  std::unique_ptr<BodyStore> bodies_;
  std::unique_ptr<ModelStore> models_;

  // What the store was told, and answered.
  std::set<std::uint64_t> acknowledged_;
  Version committed_ = 0;
  // The process's own state, which it takes from the store when it begins.
  Snapshot state_;
  std::uint64_t sequence_ = 0, next_id_ = 1;
  std::set<std::uint64_t> received_;
  std::vector<ModelRef> refs_;
};

TEST(StoreCrash, EverythingAcknowledgedIsThereOnceAtEveryCrashPoint) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    CrashRun(seed).run();
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace shoal::coordinator
