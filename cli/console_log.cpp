#include "cli/console_log.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdlib>

namespace shoal::cli {
namespace {

spdlog::level::level_enum level_of(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug: return spdlog::level::debug;
    case LogLevel::kInfo: return spdlog::level::info;
    case LogLevel::kWarning: return spdlog::level::warn;
    case LogLevel::kError: return spdlog::level::err;
  }
  return spdlog::level::err;
}

class ConsoleLog final : public Log {
 public:
  explicit ConsoleLog(LogLevel least) : logger_("shoal", make_sink()) {
    logger_.set_level(level_of(least));
    logger_.set_pattern("%Y-%m-%dT%H:%M:%S.%e %^%-7l%$ %v");
    logger_.flush_on(spdlog::level::debug);
  }
  void write(LogLevel level, std::string_view line) override { logger_.log(level_of(level), line); }

 private:
  static spdlog::sink_ptr make_sink() {
    const char* no_color = std::getenv("NO_COLOR");
    const bool plain = no_color != nullptr && *no_color != '\0';
    return std::make_shared<spdlog::sinks::stderr_color_sink_mt>(plain ? spdlog::color_mode::never
                                                                       : spdlog::color_mode::automatic);
  }
  spdlog::logger logger_;
};

}  // namespace

std::unique_ptr<Log> make_console_log(LogLevel least) { return std::make_unique<ConsoleLog>(least); }

}  // namespace shoal::cli
