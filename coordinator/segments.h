// Bodies of updates in append-only segment files, sealed as they came; several are received at a time.
//
//   segment := extent*     extent := header body     both padded to kBlock; a released one reads as zeros, or as what
//   nothing opens header  := magic u64, period u64, length u32, sealed record      record := assignment, object (with
//   the key that opens it) PERIOD.key := 32 random bytes
//
// A header is sealed under a key derived from its period's key and its place, so that neither a device's bytes nor a
// copy of another header can pass for one. A period is the time between two releases (about a round); when the last
// body of a period is released, its key file is unlinked, and with it goes every way to open those bodies, wherever the
// disk still has them.
//
// Space is written over: an empty segment begins again at its start, and one is kept for when the next is wanted.
// Syncing space that was written before costs the file system nothing but the bytes. So released space goes back to the
// file system only where a body outlives the next release: most segments are empty by then.
//
// One fdatasync makes header and body durable, and serves every body of the segment that was waiting for one.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "coordinator/file_system.h"
#include "coordinator/store.h"

namespace shoal::coordinator {

struct SegmentOptions {
  std::string folder;                          // of the segments and keys alone; made when missing
  std::uint64_t segment_bytes = 256ull << 20;  // preallocated at a time; a larger body gets a segment of its own
  std::uint64_t headroom_bytes = 0;            // no segment is begun that would leave less of the disk free
};

// Finds what an earlier process left: every body whose header and key are there, complete or not; open() tells how much
// of it is intact. `files` outlives the store. Resident memory: about 200 bytes a body, and a file descriptor a
// segment. A body whose sync() failed is gone, with the other unsynced bodies of its segment: open() begins it anew,
// elsewhere.
Result<std::unique_ptr<BodyStore>> open_segments(FileSystem& files, SegmentOptions options);

}  // namespace shoal::coordinator
