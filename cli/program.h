// What all programs share: --version, exit codes, one line for an error, and bugs that end with exit code 70.
//
//   int main(int argc, char** argv) {
//     CLI::App app{"Trains on this device's data for a coordinator."};
//     std::string config;
//     app.add_option("--config", config, "Configuration file");
//     return shoal::cli::run_program("shoal-client", app, argc, argv, [&] { return run(config); });
//   }
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace CLI {
class App;
}

namespace shoal::cli {

// Exit codes that no ErrorCode stands for; the others are exit_code() in base/result.h.
inline constexpr int kExitOk = 0;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitBug = 70;

// "0.1.0 (a8a1877f00d1, GNU 12.2.0 Release)": what peers, logs and run folders are told.
std::string build_text();

// Names the build in the state that it writes: "0.1.0-1a2b3c". Another build's state is refused.
std::string build_id();

// Parses the command line into `app` (adding --version), then runs `body`, and gives main's return value. Failures
// print one line, "PROGRAM: error: WHAT", on standard error; exceptions and failed checks are bugs and end with 70.
// Call once, first in main().
int run_program(std::string_view program, CLI::App& app, int argc, char** argv, const std::function<Status()>& body);

// "PROGRAM: error: outer: inner", on one line whatever the messages hold.
std::string error_line(std::string_view program, const Error& error);

}  // namespace shoal::cli
