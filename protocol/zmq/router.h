// A ROUTER socket as both servers want it: authenticated peers only, sends that say when a peer is gone or full.
#pragma once

#include "protocol/zmq/socket.h"

namespace shoal::protocol::zmq {

// The context's ZapHandler must exist. Seeds libc's rand() from the system's entropy first: libzmq numbers its peers
// from there, and a peer that could guess the next number and claim it as its own would abort the process.
Socket make_router(Context& context, Duration handshake_limit);

}  // namespace shoal::protocol::zmq
