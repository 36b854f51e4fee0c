// What a control message may say: the limits of limits.h applied to the plain structs, for sender and receiver alike.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "protocol/messages.h"

namespace shoal::protocol {

// kCorrupt, naming the member that is out of its limits: not a number, too long, not UTF-8, outside a range, an unknown
// enum value.
Status check(const DeviceMessage& message);
Status check(const CoordinatorMessage& message);

// kInvalid unless every option is in the range that its visit() states and the plan's name is short.
Status check(const TrainingSpec& training);

// tcp://HOST:PORT with a port of 1 to 65535; an IPv6 address is written in brackets. kInvalid otherwise.
Status check_endpoint(std::string_view endpoint);

// Makes what a sender cannot know in advance fit: text for people is cleaned and cut, durations are clamped to
// 0..kMaxDuration, losses and norms to their limits (NaN becomes the limit).
void fit(DeviceMessage& message);
void fit(CoordinatorMessage& message);

// `text` as one line of valid UTF-8 without control characters, cut at a character's end to at most `max_bytes`.
std::string one_line(std::string_view text, std::size_t max_bytes);

}  // namespace shoal::protocol
