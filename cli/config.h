// Configuration files: TOML to and from any struct with a visit() as base/options.h describes it. Strict: what is not
// an option, not of its type or out of its range is an error that names file, line and what would be right.
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "base/options.h"
#include "base/result.h"
#include "base/units.h"

namespace shoal::cli {

// What TOML can say in one value.
using Value = std::variant<bool, std::int64_t, double, std::string, std::vector<std::string>>;

enum class OptionKind { kBool, kInteger, kNumber, kText, kList, kTable };

// One option with its member's type erased. Refers to the struct that it was made from.
struct Option {
  std::string name, doc;
  std::string allowed;  // "an integer from 1 to 100"; empty for a table
  OptionKind kind = OptionKind::kTable;
  std::function<Status(const Value&)> assign;  // the error says only what is wrong, not where
  std::function<Value()> value;
  std::vector<Option> table;
};

namespace config_detail {

// "an integer from 1 to 100"; an empty bound is open.
std::string allowed_range(std::string_view what, const std::string& low, const std::string& high);
std::string allowed_names(const std::vector<std::string>& names);
Status not_allowed(const Value& value, const std::string& allowed);

// Turns each line of a visit() into an Option.
class Describer {
 public:
  explicit Describer(std::vector<Option>& out) : out_(out) {}

  template <class T, class R>
  void operator()(std::string_view name, T& member, const R& range, std::string_view doc) {
    static_assert(std::same_as<R, Any> || std::same_as<R, Range<T>>, "a range has the type of its member");
    Option option;
    option.name = name;
    option.doc = doc;
    if constexpr (std::same_as<T, bool>) {
      describe_bool(member, option);
    } else if constexpr (std::integral<T>) {
      describe_integer(member, as_range<T>(range), option);
    } else if constexpr (std::floating_point<T>) {
      static_assert(std::same_as<T, double>, "fractions are double");
      describe_number(member, as_range<T>(range), option);
    } else if constexpr (std::same_as<T, std::string>) {
      describe_string(member, option);
    } else if constexpr (std::same_as<T, std::vector<std::string>>) {
      describe_list(member, option);
    } else if constexpr (std::same_as<T, Duration>) {
      describe_unit(member, as_range<T>(range), "a duration like \"90s\"", parse_duration, format_duration, option);
    } else if constexpr (std::same_as<T, Bytes>) {
      describe_unit(member, as_range<T>(range), "a size like \"64MiB\"", parse_bytes, format_bytes, option);
    } else if constexpr (NamedEnum<T>) {
      describe_enum(member, option);
    } else {
      Describer inner(option.table);
      member.visit(inner);
    }
    out_.push_back(std::move(option));
  }

 private:
  template <class T, class R>
  static Range<T> as_range(const R& range) {
    if constexpr (std::same_as<R, Any>) {
      return {};
    } else {
      return range;
    }
  }

  static void describe_bool(bool& member, Option& option);
  static void describe_number(double& member, const Range<double>& range, Option& option);
  static void describe_string(std::string& member, Option& option);
  static void describe_list(std::vector<std::string>& member, Option& option);

  template <std::integral T>
  static void describe_integer(T& member, const Range<T>& range, Option& option) {
    constexpr bool kUnsigned = std::unsigned_integral<T>;
    // A bound that the type itself sets is worth saying where people could run into it.
    const std::string low = range.low ? std::to_string(*range.low) : kUnsigned ? "0" : "";
    const std::string high = range.high      ? std::to_string(*range.high)
                             : sizeof(T) < 8 ? std::to_string(std::numeric_limits<T>::max())
                                             : "";
    option.kind = OptionKind::kInteger;
    option.allowed = allowed_range("an integer", low, high);
    option.assign = [&member, range, allowed = option.allowed](const Value& value) -> Status {
      const auto* number = std::get_if<std::int64_t>(&value);
      if (number == nullptr || !std::in_range<T>(*number) || !range.contains(static_cast<T>(*number)))
        return not_allowed(value, allowed);
      member = static_cast<T>(*number);
      return {};
    };
    option.value = [&member] { return Value(static_cast<std::int64_t>(member)); };
  }

  template <class T>
  static void describe_unit(T& member, const Range<T>& range, std::string_view what,
                            Result<T> (*parse)(std::string_view), std::string (*format)(T), Option& option) {
    option.kind = OptionKind::kText;
    option.allowed = allowed_range(what, range.low ? format(*range.low) : "", range.high ? format(*range.high) : "");
    option.assign = [&member, range, parse, allowed = option.allowed](const Value& value) -> Status {
      const auto* text = std::get_if<std::string>(&value);
      if (text == nullptr) return not_allowed(value, allowed);
      SHOAL_TRY_ASSIGN(const T parsed, parse(*text));
      if (!range.contains(parsed)) return not_allowed(value, allowed);
      member = parsed;
      return {};
    };
    option.value = [&member, format] { return Value(format(member)); };
  }

  template <NamedEnum T>
  static void describe_enum(T& member, Option& option) {
    option.kind = OptionKind::kText;
    std::vector<std::string> names;
    for (const auto& entry : enum_names(T{})) names.emplace_back(entry.second);
    option.allowed = allowed_names(names);
    option.assign = [&member, allowed = option.allowed](const Value& value) -> Status {
      const auto* text = std::get_if<std::string>(&value);
      const auto parsed = text == nullptr ? std::nullopt : from_name<T>(*text);
      if (!parsed) return not_allowed(value, allowed);
      member = *parsed;
      return {};
    };
    option.value = [&member] { return Value(std::string(name_of(member))); };
  }

  std::vector<Option>& out_;
};

Status load(std::string_view text, const std::string& origin, const std::vector<Option>& options);
Status set(std::string_view assignment, const std::vector<Option>& options);
std::string print(const std::vector<Option>& options, bool with_docs);
std::string markdown(const std::vector<Option>& options);

}  // namespace config_detail

// The options of a struct, in the order of its visit(). They refer to `options`, which must outlive them.
template <class Options>
std::vector<Option> describe(Options& options) {
  std::vector<Option> list;
  config_detail::Describer describer(list);
  options.visit(describer);
  return list;
}

// Overwrites the members that `toml` mentions; `origin` is the file's name for messages. kInvalid, and `options` as it
// was, on the first line that is wrong.
template <class Options>
Status load(std::string_view toml, const std::string& origin, Options& options) {
  Options changed = options;
  SHOAL_TRY(config_detail::load(toml, origin, describe(changed)));
  options = std::move(changed);
  return {};
}

// The file's text; a configuration that cannot be read is a usage error (kInvalid).
Result<std::string> read_config_file(const std::string& path);

// load() of a file.
template <class Options>
Status load_file(const std::string& path, Options& options) {
  SHOAL_TRY_ASSIGN(const std::string text, read_config_file(path));
  return load(text, path, options);
}

// One --set: "fedavg.cohort=5". Text, durations, sizes and names need no quotes here; lists are "a,b" or TOML.
template <class Options>
Status set(Options& options, std::string_view assignment) {
  Options changed = options;
  SHOAL_TRY(config_detail::set(assignment, describe(changed)));
  options = std::move(changed);
  return {};
}

enum class Docs { kWithout, kWith };

// TOML that load() reads back to the same struct: bare for --print-config, commented for the samples in configs/.
template <class Options>
std::string print(const Options& options, Docs docs = Docs::kWithout) {
  Options copy = options;
  return config_detail::print(describe(copy), docs == Docs::kWith);
}

// A table for docs/: option, default, what is allowed, meaning.
template <class Options>
std::string markdown(const Options& defaults) {
  Options copy = defaults;
  return config_detail::markdown(describe(copy));
}

}  // namespace shoal::cli
