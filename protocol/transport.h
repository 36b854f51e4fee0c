// The two planes as interfaces: what service and client see of ZeroMQ. protocol/zmq/ implements them.
//
// Control is a small message bus with authenticated peers; bulk moves sealed chunks and admits only one-time tickets.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"
#include "protocol/messages.h"
#include "protocol/sealed_object.h"

namespace shoal::protocol {

// CURVE keys (X25519). Text form is ZeroMQ's Z85, 40 characters.
using PublicKey = std::array<std::uint8_t, 32>;
struct KeyPair {
  PublicKey public_key{};
  std::array<std::uint8_t, 32> secret_key{};
  friend bool operator==(const KeyPair&, const KeyPair&) = default;
};

// ---- what was moved for whom ----

// Whose bytes they are.
struct Account {
  DeviceId device;  // 0: nobody who is known
  JobId job;        // 0: not for a job
  friend auto operator<=>(const Account&, const Account&) = default;
};

// Bytes on the wire as far as a socket tells: with the headers of frames and what encryption adds, without handshakes,
// ZeroMQ's own heartbeats and what TCP adds.
struct Traffic {
  std::uint64_t up = 0;    // from devices
  std::uint64_t down = 0;  // to devices
  Traffic& operator+=(const Traffic& other) {
    up += other.up;
    down += other.down;
    return *this;
  }
  friend bool operator==(const Traffic&, const Traffic&) = default;
};

// ---- control, coordinator's side ----

enum class PeerClass : std::uint8_t {
  kDevice,      // an enrolled device
  kInvitation,  // may only redeem
  kRefused,     // revoked or expired: may only read its refusal
};

// Asked at every handshake, on the transport's own thread: must be thread-safe and quick. nullopt ends the handshake.
using Admission = std::function<std::optional<PeerClass>(const PublicKey&)>;

// One connection. Who it is comes from the handshake, never from a message or a routing id.
struct Peer {
  std::string route;  // opaque; a new connection of the same device has another
  PublicKey key{};
  PeerClass peer_class = PeerClass::kRefused;
};

struct Incoming {
  Peer peer;
  std::vector<std::byte> payload;  // one encoded DeviceMessage; at most limits.h's size
  std::uint64_t wire_bytes = 0;    // after framing
};

class ControlServer {
 public:
  virtual ~ControlServer() = default;
  // Waits up to `timeout` for messages or wake(); returns all that are there (bounded per call). Owner thread.
  virtual std::vector<Incoming> poll(Duration timeout) = 0;
  // Never blocks; a peer that is gone or whose queue is full loses the message (it will say Hello again). Returns the
  // bytes on the wire, 0 when it was lost. Owner thread.
  virtual std::uint64_t send(const Peer& peer, std::span<const std::byte> payload) = 0;
  // Ends a poll() from another thread.
  virtual void wake() = 0;
  virtual std::string endpoint() const = 0;  // as bound, with the real port
  // Connections of unknown keys that were ended at the handshake. Any thread.
  virtual std::uint64_t handshakes_denied() const = 0;
  // Everything so far: each Incoming, each send(), and messages that were dropped for their form. Owner thread.
  virtual Traffic traffic() const = 0;
};

// ---- control, client's side ----

struct Connected {};
// The connection ended or could not be made. `denied` when the handshake was refused (unknown key, wrong server key).
struct Disconnected {
  bool denied = false;
  std::string reason;
};
using ChannelEvent = std::variant<Connected, Disconnected, std::vector<std::byte>>;

// One connection attempt to one server, without reconnection of its own: after Disconnected make a new one.
class ControlChannel {
 public:
  virtual ~ControlChannel() = default;
  virtual std::optional<ChannelEvent> poll(Duration timeout) = 0;
  virtual void send(std::span<const std::byte> payload) = 0;
  virtual void wake() = 0;  // from any thread
};

// ---- bulk ----

// Where a download comes from. Called on the bulk thread, chunk by chunk, any order and more than once.
class ChunkSource {
 public:
  virtual ~ChunkSource() = default;
  virtual Status read(std::uint32_t chunk, std::vector<std::byte>& sealed) = 0;
};

// Where an upload goes. Called on the bulk thread, in order from the ticket's first chunk.
class ChunkSink {
 public:
  virtual ~ChunkSink() = default;
  virtual Status write(std::uint32_t chunk, std::span<const std::byte> sealed) = 0;
  // Every chunk was written. The owner is told from here; the ticket is spent.
  virtual void complete() = 0;
};

struct BulkCounters {
  std::uint64_t chunks_received = 0, chunks_sent = 0;
  std::uint64_t bytes_received = 0, bytes_sent = 0;  // after framing
  std::uint64_t handshakes_denied = 0;
};

// Owns its thread. All calls are thread-safe.
class BulkServer {
 public:
  virtual ~BulkServer() = default;
  // Whatever the ticket's transfer moves is counted to `account`. A connection that one device's ticket has opened
  // takes later tickets of that device only; what it moves besides transfers is counted to its first ticket's account.
  virtual Result<Ticket> offer_download(const ObjectInfo& object, std::shared_ptr<ChunkSource> source,
                                        Duration validity, Account account = {}) = 0;
  virtual Result<Ticket> offer_upload(const ObjectInfo& object, std::uint32_t first_chunk,
                                      std::shared_ptr<ChunkSink> sink, Duration validity, Account account = {}) = 0;
  virtual void withdraw(const std::string& user) = 0;
  virtual BulkCounters counters() const = 0;
  // What was moved since the last call, also by transfers that broke off and by messages after a transfer's end. All
  // calls together add up to the bytes of counters().
  virtual std::map<Account, Traffic> take_traffic() = 0;
  virtual std::string endpoint() const = 0;
};

// One transfer on the calling thread, until done, failed, stalled for `stall`, or `keep_going()` returns false
// (kTimeout). A failed transfer is resumed with a new ticket. Bounds its memory to the credit window, a few chunks.
//
// The connection of a transfer that succeeded is kept for the next one to the same endpoint; any failure closes it.
// Belongs to one thread at a time.
class BulkClient {
 public:
  virtual ~BulkClient() = default;
  virtual Status download(const Ticket& ticket, const ObjectInfo& object, std::uint32_t first_chunk, ChunkSink& sink,
                          Duration stall, const std::function<bool()>& keep_going) = 0;
  virtual Status upload(const Ticket& ticket, const ObjectInfo& object, std::uint32_t first_chunk, ChunkSource& source,
                        Duration stall, const std::function<bool()>& keep_going) = 0;
  // Closes the kept connection when no transfer has used it for so long. Never waits.
  virtual void close_idle(Duration idle) = 0;
  virtual BulkCounters counters() const = 0;
};

}  // namespace shoal::protocol
