#include "tests/support/process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <utility>

namespace shoal::testing {
namespace {

std::runtime_error failure(const std::string& what) { return std::runtime_error(what + ": " + std::strerror(errno)); }

struct Pipe {
  Pipe() {
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw failure("cannot make a pipe");
  }
  std::array<int, 2> ends{};  // read, write
};

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> all;
  for (std::string& text : texts) all.push_back(text.data());
  all.push_back(nullptr);
  return all;
}

std::vector<std::string> environment_with(const std::vector<std::string>& added) {
  std::vector<std::string> all = added;
  for (char** entry = environ; *entry != nullptr; ++entry) all.emplace_back(*entry);
  return all;  // the first of a name counts
}

// Between fork and exec only what is safe in a child of a program with threads.
[[noreturn]] void become(char* const* command, char* const* environment, int output, int log, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(127);  // it died before the line above
  ::dup2(output, STDOUT_FILENO);
  ::dup2(log, STDERR_FILENO);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execve(command[0], command, environment);
  ::_exit(127);
}

}  // namespace

Process::Process(ProcessOptions options) {
  if (::access(options.command.at(0).c_str(), X_OK) != 0) throw failure("cannot run " + options.command[0]);
  std::vector<std::string> variables = environment_with(options.environment);
  const auto command = pointers(options.command), environment = pointers(variables);
  Pipe output, log;
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ < 0) throw failure("cannot fork");
  if (pid_ == 0) become(command.data(), environment.data(), output.ends[1], log.ends[1], parent);
  ::close(output.ends[1]);
  ::close(log.ends[1]);
  pidfd_ = static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0));
  reader_ = std::thread([this, out = output.ends[0], err = log.ends[0]] { collect(out, err); });
}

Process::~Process() {
  kill();
  reader_.join();
  if (pidfd_ >= 0) ::close(pidfd_);
}

void Process::signal(int number) {
  if (!ended_) ::kill(pid_, number);
}

void Process::kill() {
  signal(SIGKILL);
  (void)wait(std::chrono::minutes(1));
}

std::optional<ExitCode> Process::wait(Duration limit) {
  if (ended_) return ended_;
  pollfd ready{pidfd_, POLLIN, 0};
  const auto until = std::chrono::steady_clock::now() + limit;
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    const int n = ::poll(&ready, 1, static_cast<int>(std::max<std::int64_t>(0, left.count())));
    if (n == 0) return std::nullopt;
    if (n > 0) break;
    if (errno != EINTR) throw failure("cannot wait for a process");
  }
  int status = 0;
  if (::waitpid(pid_, &status, 0) != pid_) throw failure("cannot wait for a process");
  ended_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  std::unique_lock lock(mutex_);
  grown_.wait(lock, [this] { return closed_; });  // its pipes end with it
  return ended_;
}

std::uint64_t Process::peak_memory() const {
  std::ifstream status("/proc/" + std::to_string(pid_) + "/status");
  for (std::string word; status >> word;) {
    std::uint64_t kib = 0;
    if (word == "VmHWM:" && status >> kib) return kib * 1024;
  }
  return 0;
}

void Process::reset_peak() {
  std::ofstream file("/proc/" + std::to_string(pid_) + "/clear_refs");
  if (!(file << "5" << std::flush)) throw failure("cannot reset the peak of resident memory");
}

std::string Process::output() const {
  const std::lock_guard lock(mutex_);
  return output_;
}

std::string Process::log() const {
  const std::lock_guard lock(mutex_);
  return log_;
}

std::size_t Process::await_log(const std::string& text, Duration limit, std::size_t from) const {
  std::unique_lock lock(mutex_);
  std::size_t at = std::string::npos;
  grown_.wait_for(lock, limit, [&] { return (at = log_.find(text, from)) != std::string::npos || closed_; });
  return at;
}

void Process::collect(int output, int log) {
  std::array<pollfd, 2> ends{{{output, POLLIN, 0}, {log, POLLIN, 0}}};
  std::array<char, 16384> buffer;
  for (int open = 2; open > 0;) {
    if (::poll(ends.data(), ends.size(), -1) < 0 && errno != EINTR) break;
    for (pollfd& end : ends) {
      if (end.fd < 0 || end.revents == 0) continue;
      const ssize_t n = ::read(end.fd, buffer.data(), buffer.size());
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) {
        end.fd = -1;
        --open;
        continue;
      }
      const std::lock_guard lock(mutex_);
      (&end == &ends[0] ? output_ : log_).append(buffer.data(), static_cast<std::size_t>(n));
      grown_.notify_all();
    }
  }
  ::close(output);
  ::close(log);
  const std::lock_guard lock(mutex_);
  closed_ = true;
  grown_.notify_all();
}

Finished run(ProcessOptions options, Duration limit) {
  const std::string name = options.command.at(0);
  Process process(std::move(options));
  const auto code = process.wait(limit);
  if (!code) throw std::runtime_error(name + " has not ended in time; its log: " + process.log());
  return {*code, process.output(), process.log()};
}

}  // namespace shoal::testing
