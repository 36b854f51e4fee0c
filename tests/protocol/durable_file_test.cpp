#include "protocol/durable_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <string_view>

#include "tests/support/temporary_folder.h"

namespace shoal::protocol {
namespace {

class DurableFileTest : public ::testing::Test {
 protected:
  std::ptrdiff_t files() const { return std::distance(std::filesystem::directory_iterator(folder_.path()), {}); }

  testing::TemporaryFolder folder_;
  const std::string path_ = folder_.file("state");
};

TEST_F(DurableFileTest, WritesPiecesInOrderAndReadsThemBack) {
  const std::string_view first = "one ", second = "", third = "two";
  const std::span<const std::byte> pieces[] = {std::as_bytes(std::span(first)), std::as_bytes(std::span(second)),
                                               std::as_bytes(std::span(third))};
  ASSERT_TRUE(write_file(path_, pieces, 0644, IfExists::kReplace).ok());
  EXPECT_EQ(*read_file(path_, 7), "one two");
  EXPECT_EQ(files(), 1);
}

TEST_F(DurableFileTest, ReplacesTheWholeContentAndSetsTheMode) {
  ASSERT_TRUE(write_file(path_, "a long first content", 0644, IfExists::kReplace).ok());
  ASSERT_TRUE(write_file(path_, "short", 0600, IfExists::kReplace).ok());
  EXPECT_EQ(*read_file(path_, 100), "short");
  struct stat status {};
  ASSERT_EQ(::stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  EXPECT_EQ(files(), 1);
}

TEST_F(DurableFileTest, RefusesToReplaceWhenAskedTo) {
  ASSERT_TRUE(write_file(path_, "first", 0600, IfExists::kRefuse).ok());
  const Status again = write_file(path_, "second", 0600, IfExists::kRefuse);
  ASSERT_FALSE(again.ok());
  EXPECT_EQ(again.error().code(), ErrorCode::kInvalid);
  EXPECT_EQ(*read_file(path_, 100), "first");
  EXPECT_EQ(files(), 1);
}

TEST_F(DurableFileTest, AFailureLeavesNothingBehind) {
  std::filesystem::create_directory(path_);  // a file cannot replace a folder
  std::filesystem::create_directory(path_ + "/inside");
  EXPECT_FALSE(write_file(path_, "content", 0600, IfExists::kReplace).ok());
  EXPECT_EQ(files(), 1);
  EXPECT_EQ(write_file(folder_.file("none/state"), "content", 0600, IfExists::kReplace).error().code(),
            ErrorCode::kNotFound);
}

TEST_F(DurableFileTest, ReadingIsBounded) {
  ASSERT_TRUE(write_file(path_, std::string(100'000, 'x'), 0600, IfExists::kReplace).ok());
  EXPECT_EQ(read_file(path_, 99'999).error().code(), ErrorCode::kCorrupt);
  EXPECT_EQ(read_file(path_, 100'000)->size(), 100'000u);
  EXPECT_EQ(read_file(folder_.file("none"), 10).error().code(), ErrorCode::kNotFound);
}

}  // namespace
}  // namespace shoal::protocol
