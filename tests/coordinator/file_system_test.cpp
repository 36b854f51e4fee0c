#include "coordinator/file_system.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "coordinator/segments.h"
#include "tests/support/sample_object.h"

namespace shoal::coordinator {
namespace {

class PosixFilesTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "shoal-files-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder); }

  FileSystem& files = posix_files();
  std::string folder;
};

TEST_F(PosixFilesTest, WriteReadAllocateAndPunch) {
  const std::vector<std::byte> bytes = tests::sample_bytes(1, 10'000);
  auto file = files.create(folder + "/a");
  ASSERT_TRUE(file.ok()) << file.error().to_string();
  ASSERT_TRUE((*file)->allocate(0, 65536).ok());
  ASSERT_TRUE((*file)->write(4096, bytes).ok());
  (*file)->start_writeback(4096, 8192);
  ASSERT_TRUE((*file)->sync().ok());
  EXPECT_EQ(*(*file)->size(), 65536u);
  std::vector<std::byte> read(10'000);
  EXPECT_EQ(*(*file)->read(4096, read), 10'000u);
  EXPECT_EQ(read, bytes);
  EXPECT_EQ(*(*file)->read(60'000, read), 5536u);
  EXPECT_EQ(*(*file)->read(70'000, read), 0u);
  (*file)->punch(4096, 4096);
  EXPECT_EQ(*(*file)->read(4096, std::span(read).first(4096)), 4096u);
  EXPECT_THAT(std::span(read).first(4096), testing::Each(std::byte{}));
}

TEST_F(PosixFilesTest, NamesAreMadeListedRenamedAndRemoved) {
  ASSERT_TRUE(files.make_folder(folder + "/x/y").ok());
  ASSERT_TRUE(files.make_folder(folder + "/x/y").ok());
  ASSERT_TRUE(files.create(folder + "/x/y/b").ok());
  ASSERT_TRUE(files.create(folder + "/x/y/a").ok());
  EXPECT_FALSE(files.create(folder + "/x/y/a").ok());
  EXPECT_EQ(*files.list(folder + "/x/y"), (std::vector<std::string>{"a", "b"}));
  ASSERT_TRUE(files.rename(folder + "/x/y/a", folder + "/x/y/c").ok());
  ASSERT_TRUE(files.remove(folder + "/x/y/b").ok());
  ASSERT_TRUE(files.remove(folder + "/x/y/b").ok());
  ASSERT_TRUE(files.sync_folder(folder + "/x/y").ok());
  EXPECT_EQ(*files.list(folder + "/x/y"), (std::vector<std::string>{"c"}));
  EXPECT_EQ(files.open(folder + "/x/y/a").error().code(), ErrorCode::kNotFound);
  EXPECT_THAT(*files.list(folder + "/nothing"), testing::IsEmpty());
  EXPECT_GT(*files.free_bytes(folder), 0u);
}

TEST_F(PosixFilesTest, OneFolderHasOneUserWhoIsNamed) {
  auto lock = files.lock(folder);
  ASSERT_TRUE(lock.ok()) << lock.error().to_string();
  const auto second = files.lock(folder);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code(), ErrorCode::kUnavailable);
  EXPECT_THAT(second.error().message(), testing::HasSubstr("pid " + std::to_string(::getpid())));
  lock->reset();
  EXPECT_TRUE(files.lock(folder).ok());
}

TEST_F(PosixFilesTest, SegmentsWorkOnTheRealThing) {
  const tests::SampleObject object(5, 3 * protocol::kChunkBytes + 100, 5);
  {
    auto bodies = open_segments(files, {.folder = folder + "/bodies", .segment_bytes = 8 << 20});
    ASSERT_TRUE(bodies.ok()) << bodies.error().to_string();
    ASSERT_EQ(*(*bodies)->open(AssignmentId{5}, object.info()), 0u);
    for (std::uint32_t chunk = 0; chunk < 2; ++chunk)
      ASSERT_TRUE((*bodies)->write(AssignmentId{5}, chunk, object.sealed(chunk)).ok());
  }
  auto bodies = open_segments(files, {.folder = folder + "/bodies", .segment_bytes = 8 << 20});
  ASSERT_EQ(*(*bodies)->open(AssignmentId{5}, object.info()), 2u);
  for (std::uint32_t chunk = 2; chunk < 4; ++chunk)
    ASSERT_TRUE((*bodies)->write(AssignmentId{5}, chunk, object.sealed(chunk)).ok());
  ASSERT_TRUE((*bodies)->sync(AssignmentId{5}).ok());
  std::vector<std::byte> sealed;
  for (std::uint32_t chunk = 0; chunk < 4; ++chunk) {
    ASSERT_TRUE((*bodies)->read(AssignmentId{5}, chunk, sealed).ok());
    EXPECT_EQ(sealed, object.sealed(chunk));
  }
  ASSERT_TRUE((*bodies)->release(std::vector{AssignmentId{5}}).ok());
  EXPECT_THAT(*files.list(folder + "/bodies"),
              testing::ElementsAre("00000001.segment"));  // kept to be written over; its key is gone
}

}  // namespace
}  // namespace shoal::coordinator
