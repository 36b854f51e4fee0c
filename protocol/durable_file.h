// Files that are read whole and replaced whole: a reader sees the old content or the new, never a part.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace shoal::protocol {

// kNotFound, kDenied, kFailed, or kCorrupt when the file is longer than `max_bytes`.
Result<std::string> read_file(const std::string& path, std::uint64_t max_bytes);

enum class IfExists { kReplace, kRefuse };

// `pieces`, one after the other, as the new content of `path`, which is durable on return: written to a new file beside
// it, synced, renamed (or linked, where an existing file is refused with kInvalid), and the folder synced. kExhausted
// when the disk is full.
Status write_file(const std::string& path, std::span<const std::span<const std::byte>> pieces, unsigned mode,
                  IfExists if_exists);

// One piece of text.
Status write_file(const std::string& path, std::string_view text, unsigned mode, IfExists if_exists);

}  // namespace shoal::protocol
