// The bulk plane on ZeroMQ: ROUTER and DEALER with PLAIN, where user name and password are a one-time ticket.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "base/time.h"
#include "protocol/transport.h"

namespace shoal::protocol::zmq {

struct BulkServerOptions {
  std::string endpoint = "tcp://127.0.0.1:7703";  // port 0 or * takes a free one; BulkServer::endpoint() tells which
  std::string advertised = {};                    // what tickets say instead (tcp://host:port); empty: as bound
  Duration stall = std::chrono::seconds(120);     // a transfer without a finished chunk for so long is dropped
  std::uint32_t window = 8;                       // most chunks of one transfer on their way
  std::uint32_t chunks_in_flight = 128;           // of all transfers together: bounds memory to that many kChunkBytes
  const Clock* clock = nullptr;                   // for validity and stall; null: the steady clock. Outlives the server
};

// Binds and starts the server's threads. kUnavailable when the endpoint cannot be bound.
//
// A ticket admits one transfer: the first handshake that shows it takes it, or the first message that opens a transfer
// with it on a connection of the same device. Later ones are denied, as after expiry, withdrawal and completion.
// Validity ends when it is shown; from then on `stall` rules. libzmq does not tell when a
// peer leaves, so whoever resumes an upload withdraws the old ticket before it offers the new one. After withdraw()
// returned, the ticket's source or sink is not called again (unless withdraw() is called from within it) and is
// released.
Result<std::unique_ptr<BulkServer>> make_bulk_server(BulkServerOptions options);

struct BulkClientOptions {
  std::uint32_t window = 8;                           // most chunks on their way; bounds memory
  Duration connect_limit = std::chrono::seconds(20);  // name lookup, TCP and handshake together
};

// One transfer at a time. download() and upload() fail with kDenied when the ticket is not (or no longer) valid,
// kUnavailable when the connection cannot be made or breaks, kTimeout when it stalls or keep_going() says no, kCorrupt
// when the other side breaks the grammar, or with the error of the sink or source. keep_going() is asked every 100 ms
// or more often. A kept connection that turns out to be dead before the server has said anything is made anew.
std::unique_ptr<BulkClient> make_bulk_client(BulkClientOptions options = {});

}  // namespace shoal::protocol::zmq
