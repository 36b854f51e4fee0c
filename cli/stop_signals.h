// SIGTERM and SIGINT as a call on a thread, where everything is allowed that a signal handler must not do.
#pragma once

#include <functional>
#include <thread>

namespace shoal::cli {

// Make it before any other thread, which then inherit the blocked signals; one at a time. The first signal calls
// `on_stop` from a thread of its own; a second one ends the process at once, with the shell's code for the signal.
class StopSignals {
 public:
  explicit StopSignals(std::function<void()> on_stop);
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

 private:
  void listen();

  std::function<void()> on_stop_;
  int signals_ = -1;  // signalfd
  int end_ = -1;      // eventfd: the destructor ends the thread
  std::thread thread_;
};

}  // namespace shoal::cli
