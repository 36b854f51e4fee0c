// The control plane on ZeroMQ: ROUTER and DEALER with CURVE, admission by public key through ZAP.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "base/time.h"
#include "protocol/transport.h"

namespace shoal::protocol::zmq {

struct ControlServerOptions {
  std::string endpoint = "tcp://127.0.0.1:7700";  // port 0 or * takes a free one; ControlServer::endpoint() tells which
  KeyPair keys = {};                              // the coordinator's
  Admission admission = {};                       // called on the handshake thread; must be set
  Duration handshake_limit = std::chrono::seconds(10);  // a connection that has not authenticated by then is closed
};

// Binds and starts the handshake thread. kUnavailable when the endpoint cannot be bound. Any number of servers may live
// in one process. Seeds libc's rand(), from which libzmq draws routing ids. Connections are descriptors: a program that
// serves many raises its descriptor limit first, since libzmq's thread spins at the limit.
Result<std::unique_ptr<ControlServer>> make_control_server(ControlServerOptions options);

struct ControlChannelOptions {
  std::string endpoint = {};  // tcp://host:port
  PublicKey server_key = {};  // the coordinator's; the connection ends where another key answers
  KeyPair keys = {};          // the device's own, or an invitation's one-time key
  Duration connect_limit = std::chrono::seconds(20);  // name lookup, TCP and handshake together
};

// Starts one connection attempt and returns at once; poll() tells how it went. kInvalid when the endpoint makes no
// sense. Exactly one Disconnected ends every channel. Messages sent before Connected wait for it. Destroying the
// channel gives queued messages up to half a second to leave.
Result<std::unique_ptr<ControlChannel>> make_control_channel(ControlChannelOptions options);

}  // namespace shoal::protocol::zmq
