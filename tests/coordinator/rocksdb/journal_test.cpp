#include "coordinator/rocksdb/journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/archive.h"
#include "tests/coordinator/rocksdb/faulty_env.h"
#include "tests/support/faulty_files.h"

namespace shoal::coordinator {
namespace {

using tests::FaultyFiles;
using tests::FileOperation;

JournalRecord record(std::uint64_t sequence) {
  event::UpdateReceived update;
  update.device = DeviceId{sequence % 7 + 1};
  update.assignment = AssignmentId{sequence};
  update.facts.samples = sequence * 3;
  return {sequence, Time(Duration(sequence * 1000)), update, sequence * 17};
}
std::vector<JournalRecord> records(std::uint64_t first, std::uint64_t last) {
  std::vector<JournalRecord> made;
  for (std::uint64_t sequence = first; sequence <= last; ++sequence) made.push_back(record(sequence));
  return made;
}
std::vector<std::uint64_t> sequences(std::span<const JournalRecord> records) {
  std::vector<std::uint64_t> found;
  for (const JournalRecord& r : records) {
    EXPECT_EQ(encode_state(r), encode_state(record(r.sequence)));
    found.push_back(r.sequence);
  }
  return found;
}
ModelRef model(std::uint64_t job, Version version) {
  ModelRef ref;
  ref.job = JobId{job};
  ref.version = version;
  ref.bytes = 1000 + version;
  ref.object.id = job * 100 + version;
  return ref;
}
Commit commit_at(std::uint64_t sequence, std::string snapshot) {
  Commit commit;
  commit.sequence = sequence;
  commit.snapshot = std::move(snapshot);
  commit.now = Time(Duration(sequence * 1000));
  return commit;
}

class JournalTest : public testing::Test {
 protected:
  void SetUp() override {
    options.folder = "/data/journal";
    options.build = "build A";
    options.env = env.get();
    options.files = &disk;
    ASSERT_TRUE(disk.make_folder("/data/journal").ok());
    reopen();
  }
  void reopen() {
    journal.reset();
    auto opened = open_journal(options);
    ASSERT_TRUE(opened.ok()) << opened.error().to_string();
    journal = std::move(*opened);
  }
  Recovered recover() {
    auto recovered = journal->recover();
    EXPECT_TRUE(recovered.ok()) << recovered.error().to_string();
    return std::move(*recovered);
  }
  struct Archive {
    std::uint64_t start = 0;
    std::string snapshot;
    std::vector<std::uint64_t> events;
  };
  Archive archive() {
    journal.reset();
    Archive found;
    std::vector<JournalRecord> events;
    const Status read = visit_archive(
        options,
        [&](const ArchiveStart& start) -> Status {
          found.start = start.sequence;
          found.snapshot = start.snapshot;
          return {};
        },
        [&](const JournalRecord& r) -> Status {
          events.push_back(r);
          return {};
        });
    EXPECT_TRUE(read.ok()) << read.error().to_string();
    found.events = sequences(events);
    reopen();
    return found;
  }

  FaultyFiles disk{1};
  std::unique_ptr<rocksdb::Env> env = tests::faulty_env(disk);
  JournalOptions options;
  std::unique_ptr<Journal> journal;
};

TEST_F(JournalTest, ANewFolderIsEmpty) {
  const Recovered recovered = recover();
  EXPECT_EQ(recovered.sequence, 0u);
  EXPECT_TRUE(recovered.snapshot.empty());
  EXPECT_TRUE(recovered.records.empty());
  EXPECT_TRUE(recovered.models.empty());
}

TEST_F(JournalTest, WhatWasAppendedIsThereAfterACrash) {
  ASSERT_TRUE(journal->append(records(1, 3)).ok());
  ASSERT_TRUE(journal->append(records(4, 300)).ok());
  journal.reset();
  disk.crash();
  reopen();
  const Recovered recovered = recover();
  EXPECT_EQ(sequences(recovered.records).size(), 300u);
  EXPECT_EQ(recovered.records.front().sequence, 1u);
  EXPECT_EQ(recovered.now, Time(Duration(300'000)));
}

TEST_F(JournalTest, ACommitReplacesEventsBySnapshotAndSwitchesModels) {
  ASSERT_TRUE(journal->append(records(1, 10)).ok());
  Commit first = commit_at(10, "first");
  first.added = {model(1, 0), model(2, 0)};
  ASSERT_TRUE(journal->commit(first).ok());
  ASSERT_TRUE(journal->append(records(11, 15)).ok());
  Commit second = commit_at(17, std::string(100'000, 's'));  // 16 and 17 were never appended
  second.records = records(16, 17);
  second.added = {model(1, 1)};
  second.dropped = {{JobId{1}, 0}};
  ASSERT_TRUE(journal->commit(second).ok());
  ASSERT_TRUE(journal->append(records(18, 19)).ok());
  journal.reset();
  disk.crash();
  reopen();
  const Recovered recovered = recover();
  EXPECT_EQ(recovered.sequence, 17u);
  EXPECT_EQ(recovered.snapshot, std::string(100'000, 's'));
  EXPECT_EQ(sequences(recovered.records), (std::vector<std::uint64_t>{18, 19}));
  ASSERT_EQ(recovered.models.size(), 2u);
  EXPECT_EQ(encode_state(recovered.models[0]), encode_state(model(1, 1)));
  EXPECT_EQ(encode_state(recovered.models[1]), encode_state(model(2, 0)));
}

TEST_F(JournalTest, TablesHoldRowsOfAnyBytes) {
  const std::string binary("\0\xFF/ k", 6);
  ASSERT_TRUE(journal->put("devices", binary, "one").ok());
  ASSERT_TRUE(journal->put("devices", "b", binary).ok());
  ASSERT_TRUE(journal->put("device", "sx", "of another table").ok());
  ASSERT_TRUE(journal->put("devices", "gone", "soon").ok());
  ASSERT_TRUE(journal->put("devices", "gone", "").ok());
  journal.reset();
  disk.crash();
  reopen();
  EXPECT_EQ(*journal->scan("devices"),
            (std::vector<std::pair<std::string, std::string>>{{binary, "one"}, {"b", binary}}));
  EXPECT_EQ(*journal->get("devices", "b"), binary);
  EXPECT_EQ(*journal->get("devices", "gone"), std::nullopt);
  EXPECT_EQ(*journal->get("nothing", "b"), std::nullopt);
}

TEST_F(JournalTest, AFullDiskRefusesAndRecoversByItself) {
  ASSERT_TRUE(journal->append(records(1, 5)).ok());
  disk.set_capacity(0);
  ASSERT_TRUE(journal->append(records(6, 9)).ok());  // the write log has its room
  const std::string large(1 << 20, 'x');
  Status full;
  for (int i = 0; i < 100 && full.ok(); ++i)
    full = journal->put("settings", "large", large);  // until tables must be written
  for (int i = 0; i < 3; ++i) {
    ASSERT_FALSE(full.ok());
    EXPECT_EQ(full.error().code(), ErrorCode::kExhausted) << full.error().to_string();
    full = journal->put("settings", "large", large);
  }
  disk.set_capacity(1 << 30);
  ASSERT_TRUE(journal->put("settings", "large", large).ok());
  ASSERT_TRUE(journal->append(records(10, 12)).ok());
  journal.reset();
  disk.crash();
  reopen();
  EXPECT_EQ(sequences(recover().records), (std::vector<std::uint64_t>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}));
  EXPECT_EQ(*journal->get("settings", "large"), large);
}

TEST_F(JournalTest, ManyFillingsOfTheWriteLogLoseNothing) {
  std::vector<std::uint64_t> expected;
  for (std::uint64_t first = 1; first < 60; ++first) {
    ASSERT_TRUE(journal->append(records(first, first)).ok());
    ASSERT_TRUE(journal->put("padding", std::to_string(first), std::string(700'000, 'x')).ok());
    expected.push_back(first);
    if (first % 7 != 0) continue;
    journal.reset();
    disk.crash();
    reopen();
    EXPECT_EQ(sequences(recover().records), expected);
    EXPECT_EQ(journal->scan("padding")->size(), expected.size());
  }
}

TEST_F(JournalTest, ABatchLargerThanTheWriteLogIsDurableToo) {
  const std::string huge(20 << 20, 'x');
  ASSERT_TRUE(journal->append(records(1, 3)).ok());
  ASSERT_TRUE(journal->put("settings", "huge", huge).ok());
  ASSERT_TRUE(journal->append(records(4, 5)).ok());
  journal.reset();
  disk.crash();
  reopen();
  EXPECT_EQ(*journal->get("settings", "huge"), huge);
  EXPECT_EQ(sequences(recover().records), (std::vector<std::uint64_t>{1, 2, 3, 4, 5}));
}

TEST_F(JournalTest, ABatchWhoseSyncFailedMayBeTriedAgain) {
  ASSERT_TRUE(journal->append(records(1, 5)).ok());
  bool broken = true;
  disk.set_fault([&](FileOperation operation, const std::string&) -> std::optional<Error> {
    if (!broken || operation != FileOperation::kSync) return std::nullopt;
    return Error(ErrorCode::kFailed, "input/output error");
  });
  EXPECT_FALSE(journal->append(records(6, 8)).ok());
  broken = false;
  ASSERT_TRUE(journal->append(records(6, 9)).ok());
  journal.reset();
  disk.crash();
  reopen();
  EXPECT_EQ(sequences(recover().records), (std::vector<std::uint64_t>{1, 2, 3, 4, 5, 6, 7, 8, 9}));
}

TEST_F(JournalTest, AnotherBuildIsRefusedOnlyWhileThereIsAStateToRead) {
  ASSERT_TRUE(journal->put("devices", "d", "kept").ok());
  journal.reset();
  options.build = "build B";
  reopen();  // nothing was open
  ASSERT_TRUE(journal->append(records(1, 2)).ok());
  Commit commit = commit_at(2, "state");
  commit.added = {model(1, 0)};
  ASSERT_TRUE(journal->commit(commit).ok());
  journal.reset();

  options.build = "build C";
  const auto refused = open_journal(options);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), ErrorCode::kInvalid);
  EXPECT_THAT(refused.error().message(),
              testing::AllOf(testing::HasSubstr("build B"), testing::HasSubstr("build C"),
                             testing::HasSubstr("shoal job stop"), testing::HasSubstr("--discard-open-rounds")));
  options.discard_open_rounds = true;
  reopen();
  Recovered recovered = recover();
  EXPECT_EQ(recovered.sequence, 0u);
  EXPECT_TRUE(recovered.snapshot.empty());
  EXPECT_TRUE(recovered.records.empty());
  EXPECT_EQ(recovered.models.size(), 1u);
  EXPECT_EQ(*journal->get("devices", "d"), "kept");
  options.discard_open_rounds = false;
  reopen();
}

TEST_F(JournalTest, AnotherBuildTakesOverAStateThatWasLeftQuiet) {
  ASSERT_TRUE(journal->append(records(1, 2)).ok());
  ASSERT_TRUE(journal->commit(commit_at(2, "state")).ok());
  ASSERT_TRUE(journal->put(kSettingsTable, kQuietKey, "yes").ok());
  journal.reset();
  options.build = "build B";
  reopen();
  EXPECT_EQ(recover().snapshot, "state");
  // Events after the snapshot are of the build that wrote them.
  ASSERT_TRUE(journal->append(records(3, 3)).ok());
  journal.reset();
  options.build = "build C";
  EXPECT_FALSE(open_journal(options).ok());
}

TEST_F(JournalTest, TheArchiveKeepsEveryEventFromItsStart) {
  options.archive_events = true;
  options.archive_limit = 10;
  reopen();
  ASSERT_TRUE(journal->append(records(1, 3)).ok());
  EXPECT_EQ(archive().events, (std::vector<std::uint64_t>{1, 2, 3}));
  Commit commit = commit_at(6, "at 6");
  commit.records = records(4, 6);
  ASSERT_TRUE(journal->commit(commit).ok());
  EXPECT_EQ(recover().records.size(), 0u);
  Archive found = archive();
  EXPECT_EQ(found.start, 0u);
  EXPECT_EQ(found.snapshot, "");
  EXPECT_EQ(found.events, (std::vector<std::uint64_t>{1, 2, 3, 4, 5, 6}));

  for (std::uint64_t sequence = 7; sequence <= 100; ++sequence) {
    ASSERT_TRUE(journal->append(records(sequence, sequence)).ok());
    if (sequence % 3 != 0) continue;
    ASSERT_TRUE(journal->commit(commit_at(sequence, "at " + std::to_string(sequence))).ok());
  }
  found = archive();
  EXPECT_EQ(found.snapshot, "at " + std::to_string(found.start));
  ASSERT_EQ(found.events.size(), 100 - found.start);
  EXPECT_GE(found.events.size(), 10u);
  EXPECT_LE(found.events.size(), 2 * 10u + 3);
  for (std::size_t i = 0; i < found.events.size(); ++i) EXPECT_EQ(found.events[i], found.start + 1 + i);

  options.archive_events = false;  // and it goes with the next commit
  reopen();
  ASSERT_TRUE(journal->commit(commit_at(100, "at 100")).ok());
  found = archive();
  EXPECT_EQ(found.start, 100u);
  EXPECT_TRUE(found.events.empty());
}

TEST_F(JournalTest, AnArchiveThatBeginsLaterBeginsWithASnapshot) {
  ASSERT_TRUE(journal->append(records(1, 5)).ok());
  ASSERT_TRUE(journal->commit(commit_at(5, "at 5")).ok());
  options.archive_events = true;
  reopen();
  ASSERT_TRUE(journal->append(records(6, 7)).ok());
  ASSERT_TRUE(journal->commit(commit_at(7, "at 7")).ok());
  const Archive found = archive();
  EXPECT_EQ(found.snapshot, "at 5");
  EXPECT_EQ(found.events, (std::vector<std::uint64_t>{6, 7}));
}

TEST_F(JournalTest, DamageToATableFileIsCorruption) {
  const auto tables = [&] {
    std::vector<std::string> names = *disk.list("/data/journal");
    std::erase_if(names, [](const std::string& name) { return !name.ends_with(".sst"); });
    return names;
  };
  // Three write buffers full: RocksDB has to write at least one of them out before it takes more.
  for (std::uint64_t sequence = 1; sequence <= 12; ++sequence) {
    ASSERT_TRUE(journal->commit(commit_at(sequence, std::string(1'000'000, 's'))).ok());
  }
  journal.reset();
  ASSERT_THAT(tables(), testing::Not(testing::IsEmpty()));
  for (const std::string& name : tables()) {
    const std::string path = "/data/journal/" + name;
    disk.overwrite(path, 0, std::vector<std::byte>(disk.contents(path).size() / 2, std::byte{0x5A}));
  }
  // The newest snapshot may still be in the write-ahead log; what lies in a damaged table must not be made up.
  const std::vector<std::string> names = *disk.list("/data/journal");
  for (const std::string& name : names) {
    if (!name.ends_with(".log")) continue;
    ASSERT_TRUE(disk.remove("/data/journal/" + name).ok());
  }
  auto opened = open_journal(options);
  const auto recovered = opened.ok() ? (*opened)->recover() : Result<Recovered>(opened.error());
  ASSERT_FALSE(recovered.ok());
  EXPECT_EQ(recovered.error().code(), ErrorCode::kCorrupt) << recovered.error().to_string();
}

}  // namespace
}  // namespace shoal::coordinator
