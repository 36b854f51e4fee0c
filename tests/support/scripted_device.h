// A device that says exactly what a test tells it to say, over the real transport: for protocol tests and for load.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "protocol/messages.h"
#include "protocol/transport.h"
#include "protocol/zmq/bulk.h"

namespace shoal::testing {

// A sealed update whose chunks are made when they are asked for, so that it takes no memory whatever its size.
class ScriptedUpdate final : public protocol::ChunkSource {
 public:
  // The plaintext of one chunk, all of it filled in; zeros if null.
  using Fill = std::function<void(std::uint32_t chunk, std::span<std::byte> plain)>;

  ScriptedUpdate(AssignmentId assignment, std::uint64_t bytes, Fill fill = {});
  // All of its values are `value`.
  static ScriptedUpdate of(AssignmentId assignment, std::uint64_t floats, float value);

  Status read(std::uint32_t chunk, std::vector<std::byte>& sealed) override;
  // Over real sockets a chunk that was changed on its way.
  void corrupt(std::uint32_t chunk) { corrupt_ = chunk; }

  protocol::message::OfferUpdate offer;  // true to its contents until a test changes it

 private:
  void seal(std::uint32_t chunk, std::vector<std::byte>& sealed);

  protocol::ChunkCipher cipher_;
  Fill fill_;
  std::vector<std::byte> plain_;
  std::optional<std::uint32_t> corrupt_;
};

// Not thread-safe. What does not come in time, or is something else than expected, throws std::runtime_error.
class ScriptedDevice {
 public:
  ScriptedDevice(std::string endpoint, protocol::PublicKey server_key, protocol::KeyPair keys);

  // Makes a new connection, over which nothing is said yet.
  void connect();
  void hang_up() { channel_.reset(); }
  // Connects and says Hello; returns the Welcome.
  protocol::message::Welcome join(const protocol::message::Hello& hello = hello_of(10));
  static protocol::message::Hello hello_of(std::uint64_t samples);

  void send(const protocol::DeviceMessage& message);
  void send_raw(std::span<const std::byte> bytes) { channel_->send(bytes); }
  // The next message; nullopt after `limit`. A lost connection throws.
  std::optional<protocol::CoordinatorMessage> hear(Duration limit = std::chrono::seconds(20));
  // Waits until the connection is gone, whatever comes before.
  void await_end(Duration limit = std::chrono::seconds(20));
  template <class Message>
  Message expect(Duration limit = std::chrono::seconds(20)) {
    auto heard = hear(limit);
    if (!heard) throw std::runtime_error("nothing came");
    if (auto* message = std::get_if<Message>(&*heard)) return std::move(*message);
    throw std::runtime_error("another message came: " + describe(*heard));
  }
  protocol::Refusal expect_refusal() { return expect<protocol::message::Refused>().refusal; }

  // Offers the update and moves its chunks if a ticket comes; what is heard next is the answer.
  Status upload(ScriptedUpdate& update);
  Status send_chunks(const protocol::message::UploadTicket& ticket, ScriptedUpdate& update);

  static std::string describe(const protocol::CoordinatorMessage& message);

 private:
  std::optional<protocol::ChannelEvent> next(Duration limit);

  std::string endpoint_;
  protocol::PublicKey server_key_;
  protocol::KeyPair keys_;
  std::unique_ptr<protocol::ControlChannel> channel_;
  std::unique_ptr<protocol::BulkClient> bulk_;
};

}  // namespace shoal::testing
