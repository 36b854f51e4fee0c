// The form of key files and invitations: `name = value` lines that people can read, each name exactly once.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace shoal::protocol {

// Values by name. Blank lines, lines that begin with `#` and spaces around names and values are skipped; CR LF is
// accepted. kInvalid, with the line's number, unless each of `names` stands there once and nothing else does.
Result<std::map<std::string, std::string, std::less<>>> parse_key_value_text(std::string_view text,
                                                                             std::span<const std::string_view> names);

}  // namespace shoal::protocol
