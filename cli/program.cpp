#include "cli/program.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <exception>
#include <new>

#include "build_info.h"

namespace shoal::cli {
namespace {

extern "C" void exit_as_bug(int) { ::_exit(kExitBug); }

// Aborts come from failed checks, std::terminate and third-party assertions; each has said its line by now.
void make_aborts_exit_70() {
  struct sigaction action {};
  action.sa_handler = exit_as_bug;
  ::sigaction(SIGABRT, &action, nullptr);
}

void print(std::FILE* out, const std::string& line) {
  std::fprintf(out, "%s\n", line.c_str());
  std::fflush(out);
}

std::string bug_line(std::string_view program, std::string_view what) {
  return std::string(program) + ": bug: " + std::string(what) + "; please report it with the log and " + build_text();
}

// The exit code when parsing ended the program, or -1 to go on.
int parse(std::string_view program, CLI::App& app, int argc, char** argv) {
  app.set_version_flag("--version", std::string(program) + " " + build_text());
  app.name(std::string(program));
  app.get_formatter()->column_width(34);
  try {
    app.parse(argc, argv);
    return -1;
  } catch (const CLI::CallForHelp& e) {
    return app.exit(e);
  } catch (const CLI::CallForAllHelp& e) {
    return app.exit(e);
  } catch (const CLI::CallForVersion& e) {
    return app.exit(e);
  } catch (const CLI::ParseError& e) {
    std::string what = e.what();
    // CLI11 misses the subcommand before it looks at the word that should have been one.
    if (const auto rest = app.remaining(); dynamic_cast<const CLI::RequiredError*>(&e) != nullptr && !rest.empty())
      what = "there is no command \"" + rest.front() + "\"";
    const Error error(ErrorCode::kInvalid, what + "; see " + std::string(program) + " --help");
    print(stderr, error_line(program, error));
    return kExitUsage;
  }
}

}  // namespace

std::string build_id() { return std::string(kVersion) + "-" + kGitHash; }

std::string build_text() { return std::string(kVersion) + " (" + kGitHash + ", " + kCompiler + ")"; }

std::string error_line(std::string_view program, const Error& error) {
  std::string line = std::string(program) + ": error: " + error.to_string();
  for (char& c : line)
    if (c == '\n' || c == '\r') c = ' ';
  return line;
}

int run_program(std::string_view program, CLI::App& app, int argc, char** argv, const std::function<Status()>& body) {
  make_aborts_exit_70();
  try {
    if (const int code = parse(program, app, argc, argv); code >= 0) return code;
    const Status status = body();
    if (status.ok()) return kExitOk;
    print(stderr, error_line(program, status.error()));
    return exit_code(status.error().code());
  } catch (const std::bad_alloc&) {
    print(stderr,
          error_line(program, Error(ErrorCode::kExhausted, "out of memory; give it more or lower memory_limit")));
    return exit_code(ErrorCode::kExhausted);
  } catch (const std::exception& e) {
    print(stderr, bug_line(program, e.what()));
    return kExitBug;
  }
}

}  // namespace shoal::cli
