// One option is one member with its default, and one line in its struct's visit(): name, member, range, doc.
//
//   struct FedBuffOptions {
//     std::uint32_t buffer = 10;  // K, updates folded together
//     template <class Visitor>
//     void visit(Visitor& v) {
//       v("buffer", buffer, at_least(1u), "Updates that are folded together (K)");
//     }
//   };
//
// That line gives parsing (cli/config.h), unknown-key errors with the nearest name, --print-config, the generated
// sample in configs/ and the docs table. Members: bool, integers, double, std::string, std::vector<std::string>,
// Duration, Bytes, an enum with `enum_names(E)` found by argument-dependent lookup, or a struct with visit() (a TOML
// table).
#pragma once

#include <concepts>
#include <limits>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

namespace shoal {

// A closed interval; either end may be open.
template <class T>
struct Range {
  std::optional<T> low, high;
  bool contains(const T& v) const { return (!low || *low <= v) && (!high || v <= *high); }
};

// No limit.
struct Any {};
inline constexpr Any any{};

template <class T>
Range<T> at_least(T low) {
  return {low, std::nullopt};
}
template <class T>
Range<T> between(T low, T high) {
  return {low, high};
}

// What an enum's `enum_names(E)` returns: value and the name that people write.
template <class E>
using EnumNames = std::span<const std::pair<E, std::string_view>>;

template <class E>
concept NamedEnum = requires(E e) {
  { enum_names(e) } -> std::same_as<EnumNames<E>>;
};

template <NamedEnum E>
std::string_view name_of(E value) {
  for (const auto& [v, name] : enum_names(value))
    if (v == value) return name;
  return "?";
}

template <NamedEnum E>
std::optional<E> from_name(std::string_view text) {
  for (const auto& [v, name] : enum_names(E{}))
    if (name == text) return v;
  return std::nullopt;
}

}  // namespace shoal
