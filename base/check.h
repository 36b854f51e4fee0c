// Always-on checks for programmer errors: a failed check prints one line and aborts the process.
#pragma once

#include <string_view>

namespace shoal {

// Prints "FILE:LINE: bug: MESSAGE" to standard error and aborts. Programs install a handler (cli/) that
// turns the abort into exit code 70.
[[noreturn]] void check_failed(const char* file, int line, std::string_view message);

}  // namespace shoal

// Only for bugs. Bad input is a Result, an expected refusal is a value of protocol::Refusal.
#define SHOAL_CHECK(condition, message)                   \
  do {                                                    \
    if (!(condition)) [[unlikely]]                        \
      ::shoal::check_failed(__FILE__, __LINE__, message); \
  } while (false)
