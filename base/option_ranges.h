// Are options in the ranges that their visit() states? Files are checked as they are read (cli/config.h); this is for
// options that came another way.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/options.h"
#include "base/result.h"
#include "base/units.h"

namespace shoal {

namespace options_detail {

template <class T>
std::string text_of_bound(const T& bound) {
  if constexpr (std::is_same_v<T, Duration>) {
    return format_duration(bound);
  } else if constexpr (std::is_same_v<T, Bytes>) {
    return format_bytes(bound);
  } else if constexpr (std::is_floating_point_v<T>) {
    char text[32];
    std::snprintf(text, sizeof text, "%g", bound);
    return text;
  } else {
    return std::to_string(bound);
  }
}

struct RangeVisitor {
  std::string path;
  Status status;

  template <class T, class R>
  void operator()(std::string_view name, T& member, const R& range, std::string_view) {
    if constexpr (requires { member.visit(*this); }) {
      const std::string outer = path;
      path += std::string(name) + ".";
      member.visit(*this);
      path = outer;
    } else if constexpr (!std::is_same_v<R, Any>) {
      if (!status.ok() || range.contains(member)) return;
      const bool low = range.low && !(member >= *range.low);  // NaN too
      status = Error(ErrorCode::kInvalid,
                     path + std::string(name) + " must be " +
                         (low ? "at least " + text_of_bound(*range.low) : "at most " + text_of_bound(*range.high)));
    }
  }
};

}  // namespace options_detail

// kInvalid, naming the first option that is out of its range, with `prefix` before its name. By value: visit() is one
// function for readers and writers, hence not const.
template <class Options>
Status check_ranges(Options options, std::string prefix = {}) {
  options_detail::RangeVisitor ranges{std::move(prefix), {}};
  options.visit(ranges);
  return std::move(ranges.status);
}

}  // namespace shoal
