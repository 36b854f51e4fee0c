// Log lines for people and machines: a level and one line of text. Programs decide where they go.
#pragma once

#include <array>
#include <string_view>
#include <utility>

#include "base/options.h"

namespace shoal {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

inline EnumNames<LogLevel> enum_names(LogLevel) {
  static constexpr std::array<std::pair<LogLevel, std::string_view>, 4> kNames{{{LogLevel::kDebug, "debug"},
                                                                                {LogLevel::kInfo, "info"},
                                                                                {LogLevel::kWarning, "warning"},
                                                                                {LogLevel::kError, "error"}}};
  return kNames;
}

// Thread-safe. Lines read "what happened key=value key=value".
class Log {
 public:
  virtual ~Log() = default;
  virtual void write(LogLevel level, std::string_view line) = 0;

  void debug(std::string_view line) { write(LogLevel::kDebug, line); }
  void info(std::string_view line) { write(LogLevel::kInfo, line); }
  void warn(std::string_view line) { write(LogLevel::kWarning, line); }
  void error(std::string_view line) { write(LogLevel::kError, line); }
};

// Drops everything.
class NoLog final : public Log {
 public:
  void write(LogLevel, std::string_view) override {}
};

}  // namespace shoal
