// Signals as calls: delivered once, on another thread; a second one ends the process.
#include "cli/stop_signals.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <future>

namespace shoal::cli {
namespace {

// Signals change the whole process: each case in a process of its own.
TEST(StopSignalsDeathTest, TheFirstSignalIsACall) {
  const auto first = [] {
    std::promise<void> called;
    StopSignals signals([&] { called.set_value(); });
    ::kill(::getpid(), SIGTERM);
    called.get_future().wait();
    std::_Exit(0);
  };
  EXPECT_EXIT(first(), testing::ExitedWithCode(0), "");
}

TEST(StopSignalsDeathTest, TheSecondSignalEndsTheProcess) {
  const auto second = [] {
    std::promise<void> called;
    StopSignals signals([&] { called.set_value(); });
    ::kill(::getpid(), SIGTERM);
    called.get_future().wait();
    ::kill(::getpid(), SIGINT);
    for (;;) ::pause();
  };
  EXPECT_EXIT(second(), testing::ExitedWithCode(128 + SIGINT), "");
}

TEST(StopSignalsDeathTest, EndsWithoutAnySignal) {
  const auto none = [] {
    {
      StopSignals signals([] { std::_Exit(1); });
    }
    std::_Exit(0);
  };
  EXPECT_EXIT(none(), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace shoal::cli
