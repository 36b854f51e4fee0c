// The block in front of every body in a segment: says whose it is and holds the key that opens it, itself sealed.
//
//   header := magic u64, period u64, length u32, sealed record, zeros to kBlock     record := ExtentRecord as an
//   archive
//
// The record is sealed under SHA-256(period key, "shoal extent", segment, offset), a key for one place in one file:
// bytes that a device sent, or a copy of another header, do not open, and no nonce is used twice.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/ids.h"
#include "protocol/sealed_object.h"

namespace shoal::coordinator {

// Extents begin at multiples of it, so that a released one can be given back to the disk whole.
inline constexpr std::uint64_t kBlock = 4096;
using Block = std::array<std::byte, kBlock>;

struct ExtentRecord {
  AssignmentId id;
  protocol::ObjectInfo object;
  template <class A>
  void fields(A& a) {
    a(id, object);
  }
};

struct ExtentPlace {
  std::uint64_t segment = 0, offset = 0;
};

// Header and body, in whole blocks.
std::uint64_t extent_bytes(const protocol::ObjectInfo& object);

Block seal_header(const ExtentRecord& record, std::uint64_t period, const protocol::ObjectKey& period_key,
                  ExtentPlace place);

// The period that a block names, if it looks like a header at all.
std::optional<std::uint64_t> header_period(std::span<const std::byte, kBlock> block);

// nullopt unless the block was sealed with this key for this place.
std::optional<ExtentRecord> open_header(std::span<const std::byte, kBlock> block, const protocol::ObjectKey& period_key,
                                        ExtentPlace place);

}  // namespace shoal::coordinator
