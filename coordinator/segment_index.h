// What the store of bodies knows of its segments, key periods and bodies. Private to segments.cpp.
#pragma once

#include <charconv>
#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/ids.h"
#include "coordinator/extent_header.h"
#include "coordinator/file_system.h"
#include "coordinator/group_sync.h"
#include "protocol/sealed_object.h"

namespace shoal::coordinator {

inline constexpr std::size_t kSealedChunk = protocol::kChunkBytes + protocol::kTagBytes;

// A released body's space.
struct Extent {
  std::uint64_t offset = 0, bytes = 0;
};

struct Segment {
  std::uint64_t number = 0;
  std::unique_ptr<File> file;
  std::uint64_t capacity = 0, used = 0;
  std::uint32_t bodies = 0;   // not released
  std::uint32_t writing = 0;  // calls of write() that are at the file
  std::vector<Extent> dead;   // released since the last release but one, and not punched
  GroupSync group;
};

struct Period {
  std::uint64_t number = 0;
  protocol::ObjectKey key{};
  std::uint32_t bodies = 0;    // not released
  std::unique_ptr<File> file;  // until it is durable
  bool lost = false;           // its sync failed: the next one would be called a success
};

struct Body {
  AssignmentId id;
  protocol::ObjectInfo object;
  std::shared_ptr<Segment> segment;
  std::shared_ptr<Period> period;
  std::uint64_t offset = 0;        // of the extent
  std::uint32_t chunks = 0;        // leading chunks that are held
  std::uint32_t synced = 0;        // of them, durable
  std::uint64_t written_back = 0;  // bytes of the body for which write-back was started
  bool counted = true;             // false: found by recover(), `chunks` is not known before open()

  std::uint64_t at(std::uint32_t chunk) const { return offset + kBlock + chunk * kSealedChunk; }
};
using Bodies = std::map<AssignmentId, std::shared_ptr<Body>>;
using Periods = std::map<std::uint64_t, std::shared_ptr<Period>>;

// Whether it was reserved later: a period goes through segments by their numbers, and through each of them once.
inline bool is_younger(const Body& a, const Body& b) {
  return std::tuple(a.period->number, a.segment->number, a.offset) >
         std::tuple(b.period->number, b.segment->number, b.offset);
}

// The bodies whose headers one of the periods' keys opens, in the segment's order; of none it is known how much is
// held.
Result<std::vector<std::shared_ptr<Body>>> find_headers(const std::shared_ptr<Segment>& segment,
                                                        const Periods& periods);

// The number in a file name like "17.segment"; nullopt for any other name.
inline std::optional<std::uint64_t> number_in(std::string_view name, std::string_view suffix) {
  if (!name.ends_with(suffix)) return std::nullopt;
  name.remove_suffix(suffix.size());
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return number;
}

}  // namespace shoal::coordinator
