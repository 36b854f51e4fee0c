// Control-plane messages to Cap'n Proto bytes (shoal.capnp) and back. The only place that knows the generated code.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/result.h"
#include "protocol/messages.h"

namespace shoal::protocol {

// At most kMaxControlBytes. Text for people is cut to its limit and cleaned, durations and losses are clamped (see
// fit() in message_limits.h); any other value out of its limits is a bug of the caller.
std::vector<std::byte> encode(const DeviceMessage& message);
std::vector<std::byte> encode(const CoordinatorMessage& message);

// From untrusted bytes, of any alignment. kCorrupt unless they are exactly one message with every value in its limits;
// the peer is then told Refusal::kMalformed.
Result<DeviceMessage> decode_device(std::span<const std::byte> bytes);
Result<CoordinatorMessage> decode_coordinator(std::span<const std::byte> bytes);

}  // namespace shoal::protocol
