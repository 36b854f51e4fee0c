#include "base/result.h"

#include <cstring>

namespace shoal {

std::string Error::to_string() const {
  std::string text = message_;
  for (const Error* e = cause_.get(); e != nullptr; e = e->cause_.get()) text += ": " + e->message_;
  return text;
}

int exit_code(ErrorCode code) {
  switch (code) {
    case ErrorCode::kFailed:
    case ErrorCode::kCorrupt:
    case ErrorCode::kExhausted: return 1;
    case ErrorCode::kInvalid: return 2;
    case ErrorCode::kUnavailable:
    case ErrorCode::kDenied: return 3;
    case ErrorCode::kTimeout: return 4;
    case ErrorCode::kNotFound: return 5;
  }
  return 70;
}

Error errno_error(ErrorCode code, std::string what, int saved_errno) {
  char buffer[256];
  const char* text = ::strerror_r(saved_errno, buffer, sizeof buffer);
  return Error(code, std::move(what) + ": " + text);
}

}  // namespace shoal
