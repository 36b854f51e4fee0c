// How programs end: the exit code and the one line for every kind of failure.
#include "cli/program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <stdexcept>
#include <vector>

namespace shoal::cli {
namespace {

using testing::HasSubstr;

// run_program with these arguments.
int run_with(std::vector<std::string> arguments, const std::function<Status()>& body) {
  CLI::App app("A test.");
  int number = 0;
  app.add_option("--number", number, "A number");
  arguments.insert(arguments.begin(), "test");
  std::vector<char*> argv;
  for (std::string& a : arguments) argv.push_back(a.data());
  return run_program("test", app, static_cast<int>(argv.size()), argv.data(), body);
}

// The same; what it printed to standard error goes to `errors`.
int run(std::vector<std::string> arguments, const std::function<Status()>& body, std::string* errors = nullptr) {
  ::testing::internal::CaptureStderr();
  const int code = run_with(std::move(arguments), body);
  const std::string text = ::testing::internal::GetCapturedStderr();
  if (errors != nullptr) *errors = text;
  return code;
}

TEST(Program, SuccessIsZeroAndSilent) {
  std::string errors;
  EXPECT_EQ(run(
                {"--number", "5"}, [] { return Status(); }, &errors),
            0);
  EXPECT_EQ(errors, "");
}

TEST(Program, AnErrorIsOneLineAndItsOwnExitCode) {
  std::string errors;
  const auto fail = [] {
    return Status(Error(ErrorCode::kTimeout, "no answer\nfor 5 s").because_of_this("cannot join"));
  };
  EXPECT_EQ(run({}, fail, &errors), 4);
  EXPECT_EQ(errors, "test: error: cannot join: no answer for 5 s\n");
}

TEST(Program, WrongUsageIsTwoAndNamesTheHelp) {
  std::string errors;
  const auto never = []() -> Status { throw std::logic_error("must not run"); };
  EXPECT_EQ(run({"--numbr", "5"}, never, &errors), 2);
  EXPECT_THAT(errors, HasSubstr("--numbr"));
  EXPECT_THAT(errors, HasSubstr("see test --help"));
  EXPECT_EQ(run({"--number", "five"}, never), 2);
}

TEST(Program, VersionNamesTheBuild) {
  testing::internal::CaptureStdout();
  EXPECT_EQ(run({"--version"}, [] { return Status(); }), 0);
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "test " + build_text() + "\n");
}

TEST(Program, ExceptionsAreBugs) {
  std::string errors;
  EXPECT_EQ(run(
                {}, []() -> Status { throw std::runtime_error("surprise"); }, &errors),
            70);
  EXPECT_THAT(errors, HasSubstr("test: bug: surprise"));
  EXPECT_EQ(run(
                {}, []() -> Status { throw std::bad_alloc(); }, &errors),
            1);
  EXPECT_THAT(errors, HasSubstr("out of memory"));
}

TEST(ProgramDeathTest, AFailedCheckExitsWith70) {
  const auto impossible = []() -> Status {
    SHOAL_CHECK(false, "impossible");
    return {};
  };
  EXPECT_EXIT(run_with({}, impossible), ::testing::ExitedWithCode(70), "bug: impossible");
}

}  // namespace
}  // namespace shoal::cli
