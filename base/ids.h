// Strong integer identifiers. They never convert into each other.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>

namespace shoal {

template <class Tag>
struct Id {
  std::uint64_t value = 0;  // 0 means "none"

  friend constexpr auto operator<=>(const Id&, const Id&) = default;
  constexpr explicit operator bool() const { return value != 0; }

  template <class Archive>
  void fields(Archive& a) {
    a(value);
  }
};

using DeviceId = Id<struct DeviceTag>;          // a registered machine; numbered by the registry
using JobId = Id<struct JobTag>;                // numbered by submission
using AssignmentId = Id<struct AssignmentTag>;  // unique over all jobs of one coordinator; names the update

// A model version of one job: 0 is the initial model, every commit adds one.
using Version = std::uint64_t;

}  // namespace shoal

template <class Tag>
struct std::hash<shoal::Id<Tag>> {
  std::size_t operator()(shoal::Id<Tag> id) const noexcept { return std::hash<std::uint64_t>{}(id.value); }
};
