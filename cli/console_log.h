// A program's log on standard error: time, level, line. The level is coloured on a terminal (NO_COLOR is honoured).
#pragma once

#include <memory>

#include "base/log.h"

namespace shoal::cli {

// Lines below `least` are dropped. Thread-safe.
std::unique_ptr<Log> make_console_log(LogLevel least = LogLevel::kInfo);

}  // namespace shoal::cli
