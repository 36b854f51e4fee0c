#include "coordinator/rocksdb/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "tests/support/sample_object.h"

namespace shoal::coordinator {
namespace {

class StoreTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "shoal-store-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    options.path = name + "/data";
    options.build = "test";
    options.segment_bytes = 8 << 20;
    options.headroom_bytes = 0;
  }
  void TearDown() override { std::filesystem::remove_all(std::filesystem::path(options.path).parent_path()); }

  StoreOptions options;
};

TEST_F(StoreTest, HoldsJournalBodiesAndModelsOverRestarts) {
  const tests::SampleObject object(9, 300'000, 9);
  const std::vector<std::byte> file = tests::sample_bytes(1, 100'000);
  ModelRef ref;
  {
    auto store = open_store(options);
    ASSERT_TRUE(store.ok()) << store.error().to_string();
    ASSERT_TRUE(store->bodies->open(AssignmentId{9}, object.info()).ok());
    for (std::uint32_t chunk = 0; chunk < object.info().chunks(); ++chunk)
      ASSERT_TRUE(store->bodies->write(AssignmentId{9}, chunk, object.sealed(chunk)).ok());
    ASSERT_TRUE(store->bodies->sync(AssignmentId{9}).ok());
    auto writer = store->models->create(JobId{1}, 0, 0);
    ASSERT_TRUE((*writer)->write(file).ok());
    ref = std::move(**writer).finish().value();
    Commit commit;
    commit.sequence = 1;
    commit.snapshot = "state";
    commit.added = {ref};
    ASSERT_TRUE(store->journal->commit(commit).ok());
    ASSERT_TRUE(store->journal->put("devices", "a", "b").ok());
  }
  auto store = open_store(options);
  ASSERT_TRUE(store.ok()) << store.error().to_string();
  const auto recovered = store->journal->recover();
  ASSERT_TRUE(recovered.ok());
  EXPECT_EQ(recovered->snapshot, "state");
  ASSERT_EQ(recovered->models.size(), 1u);
  std::vector<std::byte> read(file.size());
  ASSERT_TRUE((*store->models->open(recovered->models[0]))->read(0, read).ok());
  EXPECT_EQ(read, file);
  EXPECT_EQ(*store->journal->get("devices", "a"), "b");
  EXPECT_EQ(*store->bodies->open(AssignmentId{9}, object.info()), object.info().chunks());
}

TEST_F(StoreTest, ASecondCoordinatorIsToldWhoUsesTheFolder) {
  auto first = open_store(options);
  ASSERT_TRUE(first.ok()) << first.error().to_string();
  const auto second = open_store(options);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code(), ErrorCode::kUnavailable);
  EXPECT_THAT(second.error().to_string(), testing::HasSubstr("pid " + std::to_string(::getpid())));
  { const Store gone = std::move(*first); }
  EXPECT_TRUE(open_store(options).ok());
}

TEST_F(StoreTest, TheFolderIsForItsOwnerOnly) {
  ASSERT_TRUE(open_store(options).ok());
  for (const char* folder : {"", "/journal", "/bodies", "/models"})
    EXPECT_EQ(std::filesystem::status(options.path + folder).permissions() & std::filesystem::perms(077),
              std::filesystem::perms::none)
        << folder;
}

// Every file below the folder, with its bytes.
std::map<std::string, std::string> contents(const std::string& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    std::ostringstream bytes;
    if (entry.is_regular_file()) bytes << std::ifstream(entry.path(), std::ios::binary).rdbuf();
    files[entry.path()] = bytes.str();
  }
  return files;
}

TEST_F(StoreTest, AFolderWithoutAJournalIsNotFoundAndStaysAsItIs) {
  const auto start = [](const ArchiveStart&) -> Status { return {}; };
  const auto event = [](const JournalRecord&) -> Status { return {}; };
  const Status missing = read_archive(options.path, "test", start, event);
  EXPECT_EQ(missing.error().code(), ErrorCode::kNotFound);
  EXPECT_THAT(missing.error().to_string(), testing::HasSubstr(options.path));
  EXPECT_FALSE(std::filesystem::exists(options.path));
  std::filesystem::create_directories(options.path + "/journal");
  std::ofstream(options.path + "/mine.txt") << "text";
  const auto before = contents(options.path);
  EXPECT_EQ(read_archive(options.path, "test", start, event).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(contents(options.path), before);
}

TEST_F(StoreTest, TheArchiveIsReadWithoutACoordinator) {
  options.archive_events = true;
  {
    auto store = open_store(options);
    ASSERT_TRUE(store.ok());
    Commit commit;
    commit.sequence = 2;
    commit.snapshot = "state";
    commit.records = {{1, Time(Duration(5)), event::Tick{}, 11}, {2, Time(Duration(6)), event::Tick{}, 22}};
    ASSERT_TRUE(store->journal->commit(commit).ok());
  }
  std::vector<std::uint64_t> actions;
  const auto start = [](const ArchiveStart& s) -> Status {
    EXPECT_EQ(s.sequence, 0u);
    return {};
  };
  const auto event = [&](const JournalRecord& record) -> Status {
    actions.push_back(record.actions);
    return {};
  };
  const auto before = contents(options.path);
  ASSERT_TRUE(read_archive(options.path, "test", start, event).ok());
  EXPECT_EQ(contents(options.path), before) << "reading changes nothing";
  EXPECT_EQ(actions, (std::vector<std::uint64_t>{11, 22}));
  EXPECT_EQ(read_archive(options.path, "another", start, event).error().code(), ErrorCode::kInvalid);
}

}  // namespace
}  // namespace shoal::coordinator
