#include "coordinator/rocksdb/write_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "tests/support/faulty_files.h"

namespace shoal::coordinator {
namespace {

using testing::HasSubstr;
using tests::FaultyFiles;
using tests::FileOperation;

const std::string kFolder = "/journal", kPath = "/journal/writes.ring";
constexpr std::uint64_t kFirstRecord = 8192, kHeader = 44;

class WriteLogTest : public testing::Test {
 protected:
  WriteLogTest() { EXPECT_TRUE(disk->make_folder(kFolder).ok()); }

  Result<std::unique_ptr<WriteLog>> try_open(bool may_create = false) {
    payloads.clear();
    return WriteLog::open(*disk, kFolder, may_create, [this](std::string_view payload) -> Status {
      payloads.emplace_back(payload);
      return {};
    });
  }
  std::unique_ptr<WriteLog> open(bool may_create = false) {
    auto log = try_open(may_create);
    EXPECT_TRUE(log.ok()) << log.error().to_string();
    return std::move(*log);
  }
  void flip(std::uint64_t offset) {
    const std::byte bytes[] = {disk->contents(kPath)[offset] ^ std::byte{1}};
    disk->overwrite(kPath, offset, bytes);
  }
  void expect_damage(const std::string& mentions) {
    const auto log = try_open();
    ASSERT_FALSE(log.ok()) << mentions;
    EXPECT_EQ(log.error().code(), ErrorCode::kCorrupt);
    EXPECT_THAT(log.error().to_string(), HasSubstr(kPath));
    EXPECT_THAT(log.error().to_string(), HasSubstr(mentions));
    EXPECT_THAT(log.error().to_string(), HasSubstr("backup"));
  }

  std::optional<FaultyFiles> disk{std::in_place, 1};
  std::vector<std::string> payloads;
};

std::vector<std::string> numbers(int n) {
  std::vector<std::string> texts;
  for (int i = 0; i < n; ++i) texts.push_back("payload " + std::to_string(i));
  return texts;
}

TEST_F(WriteLogTest, GivesEveryPayloadBackAndForgetsThemAtARestart) {
  auto log = open(true);
  for (const std::string& text : numbers(5)) ASSERT_TRUE(log->append(text).ok());
  disk->crash();
  log = open();
  EXPECT_EQ(payloads, numbers(5));
  ASSERT_TRUE(log->restart().ok());
  disk->crash();
  log = open();
  EXPECT_TRUE(payloads.empty());
  ASSERT_TRUE(log->append("new").ok());
  disk->crash();
  open();
  EXPECT_EQ(payloads, std::vector<std::string>{"new"});
}

TEST_F(WriteLogTest, AMissingFileIsDamageWhereRowsAreKnown) {
  expect_damage("missing");
  open(true);
  EXPECT_TRUE(try_open().ok());
}

TEST_F(WriteLogTest, ATornLastRecordIsNoRecord) {
  auto log = open(true);
  for (const std::string& text : numbers(3)) ASSERT_TRUE(log->append(text).ok());
  flip(kFirstRecord + 2 * (kHeader + 9) + kHeader + 1);
  log = open();
  EXPECT_EQ(payloads, numbers(2));
  ASSERT_TRUE(log->append("payload 2").ok());
  open();
  EXPECT_EQ(payloads, numbers(3));
}

// Every byte of what lies before the last record.
TEST_F(WriteLogTest, DamageBeforeTheLastRecordIsRefusedWithItsPlace) {
  {
    auto log = open(true);
    for (const std::string& text : numbers(3)) ASSERT_TRUE(log->append(text).ok());
  }
  for (std::uint64_t record = 0; record < 2; ++record)
    for (std::uint64_t byte = 0; byte < kHeader + 9; ++byte) {
      const std::uint64_t start = kFirstRecord + record * (kHeader + 9);
      flip(start + byte);
      expect_damage("byte " + std::to_string(start) + ": a record cannot be read");
      flip(start + byte);
    }
  open();
  EXPECT_EQ(payloads, numbers(3));
}

TEST_F(WriteLogTest, ARunOfZerosInTheMiddleIsRefused) {
  auto log = open(true);
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(log->append(std::string(500, 'x')).ok());
  disk->overwrite(kPath, kFirstRecord + 4096, std::vector<std::byte>(8192));
  expect_damage("a record cannot be read");
}

TEST_F(WriteLogTest, DamagedHeadersAreRefused) {
  auto log = open(true);
  ASSERT_TRUE(log->append("a").ok());
  ASSERT_TRUE(log->restart().ok());
  ASSERT_TRUE(log->append("b").ok());
  flip(0);  // the newer one: the other one's records are overwritten
  expect_damage("one of its two headers");
  flip(4096);
  expect_damage("neither of its two headers");
  flip(0);  // the newer one is enough
  EXPECT_TRUE(try_open().ok());
  EXPECT_EQ(payloads, std::vector<std::string>{"b"});
}

TEST_F(WriteLogTest, AFileOfZerosOrACutOneIsRefused) {
  auto log = open(true);
  const std::size_t size = disk->contents(kPath).size();
  disk->overwrite(kPath, 0, std::vector<std::byte>(size));
  expect_damage("neither of its two headers");
  ASSERT_TRUE(disk->remove(kPath).ok());
  auto cut = disk->create(kPath);
  ASSERT_TRUE((*cut)->write(0, std::vector<std::byte>(10000)).ok());
  expect_damage("cut");
}

// Crashes at every operation of a small life with restarts: each acknowledged payload since the last restart is there.
TEST_F(WriteLogTest, LosesNothingAcknowledgedWhereverThePowerFails) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    disk.emplace(seed);
    ASSERT_TRUE(disk->make_folder(kFolder).ok());
    std::vector<std::string> acknowledged;
    std::optional<std::string> doubtful;
    bool created = false, restarting = false;
    for (std::uint64_t cut = 1 + seed % 11, i = 0; i < 12; ++i, cut = 1 + (cut * 7 + seed) % 60) {
      disk->cut_power_after(cut);
      auto log = try_open(!created);
      if (log.ok()) {
        created = true;
        std::vector<std::string> expected = acknowledged;
        const bool emptied = restarting && payloads.empty();
        if (doubtful && payloads.size() > expected.size()) expected.push_back(*doubtful);
        ASSERT_EQ(payloads, emptied ? payloads : expected) << "seed " << seed << ", life " << i;
        acknowledged = payloads;
        doubtful.reset();
        restarting = false;
        for (int n = 0; n < 30; ++n) {
          if (n % 7 == 6) {
            restarting = true;
            if (!(*log)->restart().ok()) break;
            restarting = false;
            acknowledged.clear();
          }
          doubtful = std::to_string(i) + "." + std::to_string(n) + std::string(3000, 'y');
          if (!(*log)->append(*doubtful).ok()) break;
          acknowledged.push_back(*doubtful);
          doubtful.reset();
        }
      } else {
        ASSERT_NE(log.error().code(), ErrorCode::kCorrupt) << log.error().to_string() << " seed " << seed;
      }
      disk->crash();
    }
  }
}

}  // namespace
}  // namespace shoal::coordinator
