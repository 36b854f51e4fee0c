#include "coordinator/model_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "protocol/sha256.h"
#include "tests/support/faulty_files.h"
#include "tests/support/sample_object.h"

namespace shoal::coordinator {
namespace {

using tests::FaultyFiles;
using tests::FileOperation;
using tests::sample_bytes;

constexpr JobId kJob{3};

class ModelFilesTest : public testing::Test {
 protected:
  void SetUp() override { reopen(); }
  void reopen() {
    auto opened = open_model_files(disk, "/data/models");
    ASSERT_TRUE(opened.ok()) << opened.error().to_string();
    models = std::move(*opened);
  }

  // In pieces that do not match chunks; announced or not.
  Result<ModelRef> write(Version version, std::span<const std::byte> file, bool announce, int arrays = 0) {
    SHOAL_TRY_ASSIGN(auto writer, models->create(kJob, version, arrays));
    if (announce) SHOAL_TRY(writer->expect(file.size()));
    for (std::size_t at = 0; at < file.size(); at += 100'001)
      SHOAL_TRY(writer->write(file.subspan(at, std::min<std::size_t>(100'001, file.size() - at))));
    for (int array = 0; array < arrays; ++array) {
      const std::vector<float> values(10, static_cast<float>(array) + 0.5f);
      SHOAL_TRY(writer->write_state(array, values));
      SHOAL_TRY(writer->write_state(array, values));
    }
    return std::move(*writer).finish();
  }

  void expect_whole(const ModelRef& ref, std::span<const std::byte> file) {
    EXPECT_EQ(ref.bytes, file.size());
    EXPECT_EQ(ref.digest, protocol::sha256(file));
    auto reader = models->open(ref);
    ASSERT_TRUE(reader.ok()) << reader.error().to_string();
    ASSERT_EQ((*reader)->bytes(), file.size());
    std::vector<std::byte> read(file.size()), sealed;
    ASSERT_TRUE((*reader)->read(0, read).ok());
    EXPECT_TRUE(std::equal(read.begin(), read.end(), file.begin(), file.end()));
    protocol::ChunkCipher cipher(ref.object);
    std::vector<std::byte> opened;
    for (std::uint32_t chunk = 0; chunk < ref.object.chunks(); ++chunk) {
      ASSERT_TRUE((*reader)->read_sealed(chunk, sealed).ok());
      const std::size_t at = opened.size();
      opened.resize(at + sealed.size() - protocol::kTagBytes);
      ASSERT_TRUE(cipher.open(chunk, sealed, std::span(opened).subspan(at)).ok()) << chunk;
    }
    EXPECT_TRUE(std::equal(opened.begin(), opened.end(), file.begin(), file.end()));
    EXPECT_FALSE((*reader)->read_sealed(ref.object.chunks(), sealed).ok());
  }

  FaultyFiles disk{1};
  std::unique_ptr<ModelStore> models;
};

TEST_F(ModelFilesTest, GiveBackFileStateAndSealedCopy) {
  for (const bool announce : {true, false}) {
    for (const std::size_t size : {std::size_t{1}, protocol::kChunkBytes, protocol::kChunkBytes * 3 + 5}) {
      const std::vector<std::byte> file = sample_bytes(size, size);
      auto ref = write(size, file, announce, 2);
      ASSERT_TRUE(ref.ok()) << ref.error().to_string();
      disk.crash();
      reopen();
      expect_whole(*ref, file);
      auto reader = models->open(*ref);
      std::vector<float> values(4);
      ASSERT_TRUE((*reader)->read_state(1, 16, values).ok());
      EXPECT_THAT(values, testing::Each(1.5f));
      EXPECT_FALSE((*reader)->read_state(1, 17, values).ok());
      EXPECT_FALSE((*reader)->read_state(2, 0, values).ok());
    }
  }
}

TEST_F(ModelFilesTest, RefuseAFileOfAnotherLengthThanAnnounced) {
  const std::vector<std::byte> file = sample_bytes(1, protocol::kChunkBytes + 10);
  for (const std::size_t announced :
       {file.size() - 1, file.size() + 1, protocol::kChunkBytes, 3 * protocol::kChunkBytes}) {
    auto writer = models->create(kJob, 1, 0);
    ASSERT_TRUE((*writer)->expect(announced).ok());
    Status written = (*writer)->write(file);
    if (!written.ok()) continue;
    EXPECT_FALSE(std::move(**writer).finish().ok()) << announced;
  }
  EXPECT_THAT(*disk.list("/data/models/3"), testing::IsEmpty());
}

TEST_F(ModelFilesTest, NothingRemainsOfAWriterThatDidNotFinish) {
  {
    auto writer = models->create(kJob, 1, 2);
    ASSERT_TRUE((*writer)->write(sample_bytes(1, 1'000'000)).ok());
  }
  EXPECT_THAT(*disk.list("/data/models/3"), testing::IsEmpty());
}

TEST_F(ModelFilesTest, KeepOnlyWhatIsReferredToOrStillBeingWritten) {
  const std::vector<std::byte> file = sample_bytes(1, 1000);
  const ModelRef first = *write(1, file, true), second = *write(2, file, true, 1);
  auto writer = models->create(JobId{4}, 1, 0);  // of another job, on the way
  ASSERT_TRUE((*writer)->write(file).ok());
  const ModelRef finished = *write(3, file, true);  // not committed yet
  ASSERT_TRUE(models->keep_only(std::vector{first, second}).ok());
  ASSERT_TRUE(models->keep_only(std::vector{second}).ok());
  EXPECT_EQ(models->open(first).error().code(), ErrorCode::kNotFound);
  expect_whole(second, file);
  expect_whole(finished, file);
  auto written = std::move(**writer).finish();
  ASSERT_TRUE(written.ok()) << written.error().to_string();
  expect_whole(*written, file);

  reopen();  // a new process knows of no commit on the way
  ASSERT_TRUE(models->keep_only(std::vector{second}).ok());
  EXPECT_FALSE(models->open(finished).ok());
  expect_whole(second, file);
}

TEST_F(ModelFilesTest, DiscardsAFinishedVersionAndNoOther) {
  const std::vector<std::byte> file = sample_bytes(1, 1000);
  const ModelRef unwanted = *write(1, file, true, 1), other = *write(2, file, true, 1);
  ASSERT_TRUE(models->discard(unwanted).ok());
  EXPECT_EQ(models->open(unwanted).error().code(), ErrorCode::kNotFound);
  expect_whole(other, file);
}

TEST_F(ModelFilesTest, AReaderOutlivesItsVersion) {
  const std::vector<std::byte> file = sample_bytes(1, 1000);
  const ModelRef ref = *write(1, file, true);
  ASSERT_TRUE(models->keep_only(std::vector{ref}).ok());
  const auto reader = models->open(ref);
  ASSERT_TRUE(models->keep_only({}).ok());
  EXPECT_THAT(*disk.list("/data/models/3"), testing::IsEmpty());
  std::vector<std::byte> read(file.size());
  EXPECT_TRUE((*reader)->read(0, read).ok());
  EXPECT_EQ(read, file);
}

TEST_F(ModelFilesTest, AFileThatWasCutOffIsCorrupt) {
  const ModelRef ref = *write(1, sample_bytes(1, 1000), true);
  const std::vector<std::string> names = *disk.list("/data/models/3");
  for (const std::string& name : names) {
    if (!name.ends_with(".sealed")) continue;
    ASSERT_TRUE(disk.remove("/data/models/3/" + name).ok());
    ASSERT_TRUE(disk.create("/data/models/3/" + name).ok());
  }
  EXPECT_EQ(models->open(ref).error().code(), ErrorCode::kCorrupt);
}

TEST_F(ModelFilesTest, AFullDiskFailsTheVersionAndLeavesNothing) {
  disk.set_capacity(1'500'000);
  const std::vector<std::byte> file = sample_bytes(1, 1'000'000);
  const auto full = write(1, file, true);
  ASSERT_FALSE(full.ok());
  EXPECT_EQ(full.error().code(), ErrorCode::kExhausted);
  EXPECT_THAT(*disk.list("/data/models/3"), testing::IsEmpty());
  disk.set_capacity(3'000'000);
  EXPECT_TRUE(write(1, file, true).ok());
}

// 200 times, the power fails while versions are written: every finished one is whole.
TEST(ModelFilesCrash, KeepEveryFinishedVersionAtEveryCrashPoint) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(seed);
    FaultyFiles disk(seed);
    Stream random(seed, "models crash");
    std::vector<std::pair<ModelRef, std::vector<std::byte>>> finished;
    disk.cut_power_after(5 + random.below(60));
    {
      auto models = open_model_files(disk, "/data/models");
      for (Version version = 0; models.ok() && !disk.power_is_cut(); ++version) {
        const std::vector<std::byte> file = sample_bytes(version, 1 + random.below(2 * protocol::kChunkBytes));
        auto writer = (*models)->create(kJob, version, 1);
        if (!writer.ok() || !(*writer)->write(file).ok() || !(*writer)->write_state(0, std::vector<float>(7)).ok())
          break;
        auto ref = std::move(**writer).finish();
        if (ref.ok()) finished.emplace_back(*ref, file);
      }
    }
    disk.crash();
    auto models = open_model_files(disk, "/data/models");
    ASSERT_TRUE(models.ok());
    std::vector<ModelRef> refs;
    for (const auto& [ref, file] : finished) refs.push_back(ref);
    ASSERT_TRUE((*models)->keep_only(refs).ok());
    EXPECT_EQ(disk.list("/data/models/3")->size(), 3 * finished.size());
    for (const auto& [ref, file] : finished) {
      auto reader = (*models)->open(ref);
      ASSERT_TRUE(reader.ok()) << reader.error().to_string();
      std::vector<std::byte> read(file.size());
      ASSERT_TRUE((*reader)->read(0, read).ok());
      ASSERT_EQ(read, file);
    }
  }
}

}  // namespace
}  // namespace shoal::coordinator
