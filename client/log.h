// How the client's parts report what they do: one line at a time, to whoever runs them.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string_view>
#include <utility>

#include "base/options.h"

namespace shoal::client {

enum class LogLevel : std::uint8_t { kDebug = 0, kInfo = 1, kWarning = 2, kError = 3 };

inline EnumNames<LogLevel> enum_names(LogLevel) {
  static constexpr std::array<std::pair<LogLevel, std::string_view>, 4> kNames{{{LogLevel::kDebug, "debug"},
                                                                               {LogLevel::kInfo, "info"},
                                                                               {LogLevel::kWarning, "warning"},
                                                                               {LogLevel::kError, "error"}}};
  return kNames;
}

// Takes one line without its newline. Called from any of the client's threads.
using LogSink = std::function<void(LogLevel, std::string_view)>;

}  // namespace shoal::client
