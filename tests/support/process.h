// Programs run by tests: started with pipes for their output, watched without polling, and ended by pid, whatever the
// test does.
#pragma once

#include <sys/types.h>

#include <condition_variable>
#include <csignal>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/time.h"

namespace shoal::testing {

// How a process ended: its exit code, or 128 + the signal that killed it.
using ExitCode = int;

struct ProcessOptions {
  std::vector<std::string> command;      // command[0] is the program's path
  std::vector<std::string> environment;  // NAME=VALUE, added to the test's own
};

// A child process. It dies with the thread that started it, so that no test leaves one behind even when it is killed
// itself.
class Process {
 public:
  // Throws std::runtime_error when the program cannot be started.
  explicit Process(ProcessOptions options);
  // Kills what still runs.
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  void signal(int number);
  // kill -9, and waits for the end.
  void kill();
  // nullopt when the process still runs after `limit`.
  std::optional<ExitCode> wait(Duration limit);
  bool running() { return !wait(Duration::zero()); }

  // The most memory that it has had resident since its start or the last reset_peak(), in bytes; 0 once it has ended.
  std::uint64_t peak_memory() const;
  void reset_peak();

  // Everything that it wrote so far, standard output and error apart. Complete once wait() has told the end.
  std::string output() const;
  std::string log() const;
  // Waits until `text` is in the log at or after `from`; npos when it is not within `limit`, or the process ended
  // without it.
  std::size_t await_log(const std::string& text, Duration limit, std::size_t from = 0) const;

 private:
  void collect(int output, int log);

  pid_t pid_ = -1;
  int pidfd_ = -1;
  std::optional<ExitCode> ended_;

  mutable std::mutex mutex_;  // guards what follows
  mutable std::condition_variable grown_;
  std::string output_, log_;
  bool closed_ = false;
  std::thread reader_;
};

struct Finished {
  ExitCode code = 0;
  std::string output, log;
};

// Runs a command to its end; throws std::runtime_error when it takes longer than `limit`.
Finished run(ProcessOptions options, Duration limit = std::chrono::seconds(60));

}  // namespace shoal::testing
