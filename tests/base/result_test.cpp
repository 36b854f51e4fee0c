// Errors as values: the cause chain, exit codes, and what the macros do with success and failure.
#include "base/result.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <string>

namespace shoal {
namespace {

Result<int> parse(bool fine) {
  if (!fine) return Error(ErrorCode::kCorrupt, "byte 7 is 0xff");
  return 42;
}

Result<std::string> twice(bool fine) {
  SHOAL_TRY_ASSIGN(const int first, parse(true));
  SHOAL_TRY_ASSIGN(const int second, parse(fine));
  return std::to_string(first + second);
}

Status all(bool fine) {
  SHOAL_TRY(Status());
  SHOAL_TRY(parse(fine));
  return {};
}

TEST(Result, HoldsAValueOrAnError) {
  EXPECT_EQ(twice(true).value(), "84");
  const Result<std::string> failed = twice(false);
  EXPECT_FALSE(failed);
  EXPECT_EQ(failed.error().message(), "byte 7 is 0xff");
  EXPECT_EQ(failed.error().code(), ErrorCode::kCorrupt);
  EXPECT_TRUE(all(true).ok());
  EXPECT_EQ(all(false).error().message(), "byte 7 is 0xff");
}

TEST(Result, CausesReadFromTheOutsideIn) {
  const Error error = Error(ErrorCode::kNotFound, "no such file")
                          .because_of_this("cannot read model.bin")
                          .because_of_this("cannot start");
  EXPECT_EQ(error.to_string(), "cannot start: cannot read model.bin: no such file");
  EXPECT_EQ(error.code(), ErrorCode::kNotFound) << "the innermost code decides the exit code";
  ASSERT_NE(error.cause(), nullptr);
  EXPECT_EQ(error.cause()->message(), "cannot read model.bin");
}

TEST(Result, CarriesWhatCannotBeCopied) {
  const auto make = []() -> Result<std::unique_ptr<int>> { return std::make_unique<int>(5); };
  const auto use = [&]() -> Result<int> {
    SHOAL_TRY_ASSIGN(const std::unique_ptr<int> number, make());
    return *number;
  };
  EXPECT_EQ(use().value(), 5);
}

TEST(Result, EveryCodeHasTheDocumentedExitCode) {
  EXPECT_EQ(exit_code(ErrorCode::kFailed), 1);
  EXPECT_EQ(exit_code(ErrorCode::kCorrupt), 1);
  EXPECT_EQ(exit_code(ErrorCode::kExhausted), 1);
  EXPECT_EQ(exit_code(ErrorCode::kInvalid), 2);
  EXPECT_EQ(exit_code(ErrorCode::kUnavailable), 3);
  EXPECT_EQ(exit_code(ErrorCode::kDenied), 3);
  EXPECT_EQ(exit_code(ErrorCode::kTimeout), 4);
  EXPECT_EQ(exit_code(ErrorCode::kNotFound), 5);
}

TEST(Result, ErrnoIsSpelledOut) {
  EXPECT_EQ(errno_error(ErrorCode::kFailed, "cannot open x", ENOENT).message(),
            "cannot open x: No such file or directory");
}

TEST(ResultDeathTest, TheValueOfAnErrorIsABug) { EXPECT_DEATH((void)parse(false).value(), "bug: byte 7 is 0xff"); }

}  // namespace
}  // namespace shoal
