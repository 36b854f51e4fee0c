#include "coordinator/memory_store.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "protocol/sha256.h"

namespace shoal::coordinator {
namespace {

using std::chrono::seconds;

JournalRecord record(std::uint64_t sequence) {
  return {sequence, Time(seconds(sequence)), event::Tick{}, sequence * 7};
}

ModelRef model_ref(JobId job, Version version) {
  ModelRef ref;
  ref.job = job;
  ref.version = version;
  return ref;
}

Commit commit_at(std::uint64_t sequence, std::vector<ModelRef> added, std::vector<std::pair<JobId, Version>> dropped) {
  Commit commit;
  commit.sequence = sequence;
  commit.snapshot = "state";
  commit.now = Time(seconds(sequence));
  commit.added = std::move(added);
  commit.dropped = std::move(dropped);
  return commit;
}

std::vector<std::byte> bytes_of(std::string_view text) {
  std::vector<std::byte> bytes(text.size());
  std::memcpy(bytes.data(), text.data(), text.size());
  return bytes;
}

Status out_of_room(StoreOperation) { return Error(ErrorCode::kExhausted, "the disk is full"); }

// ---- journal ----

TEST(MemoryJournal, RecoversRecordsAfterTheSnapshot) {
  MemoryStore store;
  ASSERT_TRUE(store.journal.append(std::vector{record(1), record(2)}).ok());
  ASSERT_TRUE(store.journal.commit(commit_at(2, {model_ref(JobId{1}, 0)}, {})).ok());
  ASSERT_TRUE(store.journal.append(std::vector{record(3)}).ok());
  store.crash();
  const Recovered recovered = store.journal.recover().value();
  EXPECT_EQ(recovered.sequence, 2u);
  EXPECT_EQ(recovered.snapshot, "state");
  EXPECT_EQ(recovered.now, Time(seconds(3)));
  ASSERT_EQ(recovered.records.size(), 1u);
  EXPECT_EQ(recovered.records[0].sequence, 3u);
  EXPECT_EQ(recovered.records[0].actions, 21u);
  ASSERT_EQ(recovered.models.size(), 1u);
}

TEST(MemoryJournal, CommitSwapsModelReferences) {
  MemoryStore store;
  ASSERT_TRUE(store.journal.commit(commit_at(1, {model_ref(JobId{1}, 0), model_ref(JobId{2}, 0)}, {})).ok());
  ASSERT_TRUE(store.journal.commit(commit_at(2, {model_ref(JobId{1}, 1)}, {{JobId{1}, 0}})).ok());
  const Recovered recovered = store.journal.recover().value();
  ASSERT_EQ(recovered.models.size(), 2u);
  EXPECT_EQ(recovered.models[0].job, JobId{2});
  EXPECT_EQ(recovered.models[1].version, 1u);
}

TEST(MemoryJournal, AFullDiskLeavesNothingBehind) {
  MemoryStore store;
  store.faults.before = out_of_room;
  const Status full = store.journal.append(std::vector{record(1)});
  ASSERT_FALSE(full.ok());
  EXPECT_EQ(full.error().code(), ErrorCode::kExhausted);
  store.faults = {};
  ASSERT_TRUE(store.journal.append(std::vector{record(1)}).ok());
  EXPECT_EQ(store.journal.recover().value().records.size(), 1u);
}

TEST(MemoryJournal, ALostAnswerLeavesTheRecords) {
  MemoryStore store;
  store.faults.after = out_of_room;
  ASSERT_FALSE(store.journal.append(std::vector{record(1)}).ok());
  store.crash();
  EXPECT_EQ(store.journal.recover().value().records.size(), 1u);
}

TEST(MemoryJournal, RowsAreSetReplacedAndDeleted) {
  MemoryStore store;
  Journal& journal = store.journal;
  ASSERT_TRUE(journal.put("devices", "b", "2").ok());
  ASSERT_TRUE(journal.put("devices", "a", "1").ok());
  ASSERT_TRUE(journal.put("devicesX", "c", "3").ok());
  ASSERT_TRUE(journal.put("devices", "b", "4").ok());
  using Rows = std::vector<std::pair<std::string, std::string>>;
  EXPECT_EQ(journal.scan("devices").value(), (Rows{{"a", "1"}, {"b", "4"}}));
  ASSERT_TRUE(journal.put("devices", "a", "").ok());
  EXPECT_EQ(journal.get("devices", "a").value(), std::nullopt);
  EXPECT_EQ(journal.get("devices", "b").value(), "4");
  EXPECT_EQ(journal.scan("settings").value(), Rows{});
}

// ---- bodies ----

class MemoryBodiesTest : public testing::Test {
 protected:
  static constexpr AssignmentId kId{7};

  protocol::ObjectInfo object(std::uint64_t bytes, std::uint8_t key = 1) {
    protocol::ObjectInfo info{.id = kId.value, .bytes = bytes};
    info.key.fill(key);
    return info;
  }
  std::vector<std::byte> chunk(const protocol::ObjectInfo& info, std::uint32_t index) {
    return std::vector<std::byte>(info.sealed_bytes(index), std::byte(index + 1));
  }

  MemoryStore store_;
};

TEST_F(MemoryBodiesTest, GivesBackTheChunksInOrder) {
  const protocol::ObjectInfo info = object(2 * protocol::kChunkBytes + 5);
  EXPECT_EQ(store_.bodies.open(kId, info).value(), 0u);
  for (std::uint32_t i = 0; i < 3; ++i) ASSERT_TRUE(store_.bodies.write(kId, i, chunk(info, i)).ok());
  std::vector<std::byte> out;
  for (std::uint32_t i = 0; i < 3; ++i) {
    ASSERT_TRUE(store_.bodies.read(kId, i, out).ok());
    EXPECT_EQ(out, chunk(info, i));
  }
  EXPECT_FALSE(store_.bodies.read(kId, 3, out).ok());
  EXPECT_EQ(store_.bodies.info(kId).value(), info);
  EXPECT_EQ(store_.bodies.held(), std::vector{kId});
  EXPECT_EQ(store_.bodies.bytes_held(), info.sealed_bytes());
}

TEST_F(MemoryBodiesTest, RefusesChunksOutOfOrderOrOfAnotherSize) {
  const protocol::ObjectInfo info = object(protocol::kChunkBytes + 1);
  EXPECT_FALSE(store_.bodies.write(kId, 0, chunk(info, 0)).ok()) << "not opened";
  ASSERT_TRUE(store_.bodies.open(kId, info).ok());
  EXPECT_FALSE(store_.bodies.write(kId, 1, chunk(info, 1)).ok());
  EXPECT_FALSE(store_.bodies.write(kId, 0, chunk(info, 1)).ok());
  ASSERT_TRUE(store_.bodies.write(kId, 0, chunk(info, 0)).ok());
  ASSERT_TRUE(store_.bodies.write(kId, 1, chunk(info, 1)).ok());
  EXPECT_FALSE(store_.bodies.write(kId, 2, chunk(info, 1)).ok()) << "beyond the end";
}

TEST_F(MemoryBodiesTest, ACrashLosesWhatWasNotSynced) {
  const protocol::ObjectInfo info = object(3 * protocol::kChunkBytes);
  ASSERT_TRUE(store_.bodies.open(kId, info).ok());
  ASSERT_TRUE(store_.bodies.write(kId, 0, chunk(info, 0)).ok());
  ASSERT_TRUE(store_.bodies.sync(kId).ok());
  ASSERT_TRUE(store_.bodies.write(kId, 1, chunk(info, 1)).ok());
  store_.crash();
  EXPECT_EQ(store_.bodies.open(kId, info).value(), 1u) << "the upload goes on where it was synced";

  const AssignmentId other{8};
  ASSERT_TRUE(store_.bodies.put(other, {1, 2, 3}).ok());
  store_.crash();
  EXPECT_FALSE(store_.bodies.info(other).ok());
  ASSERT_TRUE(store_.bodies.put(other, {1, 2, 3}).ok());
  ASSERT_TRUE(store_.bodies.sync(other).ok());
  store_.crash();
  EXPECT_EQ(store_.bodies.bytes(other).value(), 12u);
}

TEST_F(MemoryBodiesTest, AnotherObjectReplacesUnlessTheFirstIsCompleteAndSynced) {
  const protocol::ObjectInfo first = object(5, 1), second = object(5, 2);
  ASSERT_TRUE(store_.bodies.open(kId, first).ok());
  ASSERT_TRUE(store_.bodies.write(kId, 0, chunk(first, 0)).ok());
  EXPECT_EQ(store_.bodies.open(kId, second).value(), 0u);
  ASSERT_TRUE(store_.bodies.write(kId, 0, chunk(second, 0)).ok());
  ASSERT_TRUE(store_.bodies.sync(kId).ok());
  EXPECT_FALSE(store_.bodies.open(kId, first).ok());
  EXPECT_EQ(store_.bodies.open(kId, second).value(), 1u);
}

TEST_F(MemoryBodiesTest, ReleaseForgetsAndIgnoresUnknownIds) {
  ASSERT_TRUE(store_.bodies.put(kId, {1}).ok());
  ASSERT_TRUE(store_.bodies.release(std::vector{kId, AssignmentId{99}}).ok());
  EXPECT_TRUE(store_.bodies.held().empty());
  EXPECT_EQ(store_.bodies.bytes_held(), 0u);
  EXPECT_EQ(store_.bodies.info(kId).error().code(), ErrorCode::kNotFound);
}

TEST_F(MemoryBodiesTest, APlainBodyIsReadWithoutACopy) {
  std::vector<float> deltas(protocol::kChunkBytes / sizeof(float) + 3, 1.5f);
  const auto* where = reinterpret_cast<const std::byte*>(deltas.data());
  ASSERT_TRUE(store_.bodies.put(kId, std::move(deltas)).ok());
  ChunkScratch scratch;
  const std::span<const std::byte> first = store_.bodies.read(kId, 0, scratch).value();
  const std::span<const std::byte> last = store_.bodies.read(kId, 1, scratch).value();
  EXPECT_EQ(first.data(), where);
  EXPECT_EQ(first.size(), protocol::kChunkBytes);
  EXPECT_EQ(last.size(), 3 * sizeof(float));
}

// ---- models ----

TEST(MemoryModels, GivesBackFileStateAndSealedCopy) {
  MemoryStore store;
  const std::vector<std::byte> part = bytes_of("safe"), rest = bytes_of("tensors");
  auto writer = store.models.create(JobId{1}, 3, 1).value();
  ASSERT_TRUE(writer->write(part).ok());
  ASSERT_TRUE(writer->write(rest).ok());
  ASSERT_TRUE(writer->write_state(0, std::vector{1.0f, 2.0f}).ok());
  const ModelRef ref = std::move(*writer).finish().value();
  EXPECT_EQ(ref.version, 3u);
  EXPECT_EQ(ref.bytes, 11u);
  EXPECT_EQ(ref.digest, protocol::sha256(bytes_of("safetensors")));

  const auto reader = store.models.open(ref).value();
  std::vector<std::byte> middle(4);
  ASSERT_TRUE(reader->read(3, middle).ok());
  EXPECT_EQ(middle, bytes_of("eten"));
  EXPECT_FALSE(reader->read(8, middle).ok());
  std::vector<float> state(1);
  ASSERT_TRUE(reader->read_state(0, 1, state).ok());
  EXPECT_EQ(state[0], 2.0f);
  EXPECT_FALSE(reader->read_state(1, 0, state).ok());

  std::vector<std::byte> sealed, again, plain(11);
  ASSERT_TRUE(reader->read_sealed(0, sealed).ok());
  ASSERT_TRUE(reader->read_sealed(0, again).ok());
  EXPECT_EQ(sealed, again);
  ASSERT_TRUE(protocol::ChunkCipher(ref.object).open(0, sealed, plain).ok());
  EXPECT_EQ(plain, bytes_of("safetensors"));
}

TEST(MemoryModels, OnlyFinishedVersionsExist) {
  MemoryStore store;
  { auto writer = store.models.create(JobId{1}, 0, 0).value(); }
  auto writer = store.models.create(JobId{1}, 0, 0).value();
  store.faults.before = out_of_room;
  EXPECT_FALSE(std::move(*writer).finish().ok());
  EXPECT_FALSE(store.models.open(model_ref(JobId{1}, 0)).ok());
}

TEST(MemoryModels, KeepsWhatIsNamedAndWhatIsOpen) {
  MemoryStore store;
  std::vector<ModelRef> refs;
  for (Version v = 0; v < 3; ++v)
    refs.push_back(std::move(*store.models.create(JobId{1}, v, 0).value()).finish().value());
  const auto open = store.models.open(refs[0]).value();
  ASSERT_TRUE(store.models.keep_only({}).ok());
  for (const ModelRef& ref : refs) EXPECT_TRUE(store.models.open(ref).ok()) << "it waits for its commit";
  ASSERT_TRUE(store.models.keep_only(refs).ok());
  ASSERT_TRUE(store.models.keep_only(std::span(refs).subspan(2)).ok());
  EXPECT_FALSE(store.models.open(refs[0]).ok());
  EXPECT_FALSE(store.models.open(refs[1]).ok());
  EXPECT_TRUE(store.models.open(refs[2]).ok());
  EXPECT_EQ(open->bytes(), 0u);
  const ModelRef unwanted = std::move(*store.models.create(JobId{2}, 0, 0).value()).finish().value();
  ASSERT_TRUE(store.models.discard(unwanted).ok());
  EXPECT_FALSE(store.models.open(unwanted).ok());
  EXPECT_TRUE(store.models.open(refs[2]).ok());
}

}  // namespace
}  // namespace shoal::coordinator
