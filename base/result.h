// Operating errors as values: an Error with a cause chain, and Result<T> that holds a value or an Error.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "base/check.h"

namespace shoal {

// What kind of thing went wrong. Decides the exit code of a program (exit_code below).
enum class ErrorCode {
  kFailed,       // the work itself failed                         exit 1
  kCorrupt,      // bytes on disk or wire are not what they claim  exit 1
  kExhausted,    // disk, memory or a quota ran out                exit 1
  kInvalid,      // usage, configuration or input is wrong         exit 2
  kUnavailable,  // cannot connect                                 exit 3
  kDenied,       // not allowed                                    exit 3
  kTimeout,      //                                                exit 4
  kNotFound,     //                                                exit 5
};

class [[nodiscard]] Error {
 public:
  // `message` says what failed, why, and what to do, without a trailing period or newline.
  Error(ErrorCode code, std::string message) : code_(code), message_(std::move(message)) {}

  ErrorCode code() const { return code_; }
  const std::string& message() const { return message_; }
  const Error* cause() const { return cause_.get(); }

  // A new error that says what was attempted, caused by this one; the code is kept.
  Error because_of_this(std::string attempted) && {
    Error outer(code_, std::move(attempted));
    outer.cause_ = std::make_shared<const Error>(std::move(*this));
    return outer;
  }

  // "outer: inner: innermost" on one line.
  std::string to_string() const;

 private:
  ErrorCode code_;
  std::string message_;
  std::shared_ptr<const Error> cause_;
};

// The exit code that the brief promises for this kind of error.
int exit_code(ErrorCode code);

// An Error that carries `what` and the text of errno.
Error errno_error(ErrorCode code, std::string what, int saved_errno);

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT: implicit by design
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT: implicit by design

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  T& value() & {
    SHOAL_CHECK(ok(), error().to_string());
    return std::get<0>(state_);
  }
  const T& value() const& {
    SHOAL_CHECK(ok(), error().to_string());
    return std::get<0>(state_);
  }
  // By value, so that `for (x : f().value())` does not refer into a temporary that is gone.
  T value() && {
    SHOAL_CHECK(ok(), error().to_string());
    return std::get<0>(std::move(state_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  const Error& error() const& { return std::get<1>(state_); }
  Error&& error() && { return std::get<1>(std::move(state_)); }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT: implicit by design

  bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }
  void value() const { SHOAL_CHECK(ok(), error_->to_string()); }
  const Error& error() const& { return *error_; }
  Error&& error() && { return std::move(*error_); }

 private:
  std::optional<Error> error_;
};

using Status = Result<void>;

}  // namespace shoal

#define SHOAL_CONCAT_INNER(a, b) a##b
#define SHOAL_CONCAT(a, b) SHOAL_CONCAT_INNER(a, b)

// SHOAL_TRY(status_expression); returns the error to the caller.
#define SHOAL_TRY(expression)                                                                         \
  do {                                                                                                \
    if (auto shoal_status = (expression); !shoal_status.ok()) return std::move(shoal_status).error(); \
  } while (false)

// SHOAL_TRY_ASSIGN(auto x, result_expression); returns the error, or binds the value.
#define SHOAL_TRY_ASSIGN(declaration, expression) \
  SHOAL_TRY_ASSIGN_INNER(SHOAL_CONCAT(shoal_result_, __LINE__), declaration, expression)
#define SHOAL_TRY_ASSIGN_INNER(name, declaration, expression) \
  auto name = (expression);                                   \
  if (!name.ok()) return std::move(name).error();             \
  declaration = std::move(name).value()
