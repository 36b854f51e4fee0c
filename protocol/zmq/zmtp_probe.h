// Asks a TCP endpoint whether a ZeroMQ peer listens there, by reading the first bytes of its greeting.
#pragma once

#include <string>

#include "base/time.h"

namespace shoal::protocol::zmq {

// False as well for anything that goes wrong within `limit`.
bool greets(const std::string& endpoint, Duration limit);

}  // namespace shoal::protocol::zmq
