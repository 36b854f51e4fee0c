#include "tests/support/scripted_device.h"

#include <algorithm>
#include <cstring>

#include "protocol/sha256.h"
#include "protocol/wire.h"
#include "protocol/zmq/control.h"

namespace shoal::testing {

namespace message = protocol::message;

namespace {

protocol::ObjectInfo object_of(AssignmentId assignment, std::uint64_t bytes) {
  return {assignment.value, bytes, protocol::preferred_suite(), protocol::make_object_key().value()};
}

}  // namespace

ScriptedUpdate::ScriptedUpdate(AssignmentId assignment, std::uint64_t bytes, Fill fill)
    : offer{assignment, {}, object_of(assignment, bytes)}, cipher_(offer.object), fill_(std::move(fill)) {
  protocol::Sha256 tags;
  std::vector<std::byte> sealed;
  for (std::uint32_t chunk = 0; chunk < offer.object.chunks(); ++chunk) {
    seal(chunk, sealed);
    tags.update(std::span<const std::byte>(sealed).last(protocol::kTagBytes));
  }
  offer.facts.digest = tags.finish();
  offer.facts.bytes = bytes;
  offer.facts.samples = 10;
  offer.facts.steps = 1;
  offer.facts.loss = 1;
}

ScriptedUpdate ScriptedUpdate::of(AssignmentId assignment, std::uint64_t floats, float value) {
  return ScriptedUpdate(assignment, floats * sizeof(float), [value](std::uint32_t, std::span<std::byte> plain) {
    for (std::size_t at = 0; at < plain.size(); at += sizeof value)
      std::memcpy(plain.data() + at, &value, sizeof value);
  });
}

void ScriptedUpdate::seal(std::uint32_t chunk, std::vector<std::byte>& sealed) {
  sealed.resize(offer.object.sealed_bytes(chunk));
  plain_.assign(sealed.size() - protocol::kTagBytes, std::byte{0});
  if (fill_) fill_(chunk, plain_);
  cipher_.seal(chunk, plain_, sealed);
}

Status ScriptedUpdate::read(std::uint32_t chunk, std::vector<std::byte>& sealed) {
  seal(chunk, sealed);
  if (corrupt_ == chunk) sealed[sealed.size() / 2] ^= std::byte{1};
  return {};
}

ScriptedDevice::ScriptedDevice(std::string endpoint, protocol::PublicKey server_key, protocol::KeyPair keys)
    : endpoint_(std::move(endpoint)), server_key_(server_key), keys_(keys), bulk_(protocol::zmq::make_bulk_client()) {}

void ScriptedDevice::connect() {
  protocol::zmq::ControlChannelOptions options;
  options.endpoint = endpoint_;
  options.server_key = server_key_;
  options.keys = keys_;
  channel_ = protocol::zmq::make_control_channel(std::move(options)).value();
  const auto event = next(std::chrono::seconds(20));
  if (!event) throw std::runtime_error("a device cannot connect: no answer");
  if (const auto* ended = std::get_if<protocol::Disconnected>(&*event))
    throw std::runtime_error("a device cannot connect: " + ended->reason);
}

message::Hello ScriptedDevice::hello_of(std::uint64_t samples) {
  message::Hello hello;
  hello.build = "scripted";
  hello.facts.train_samples = samples;
  return hello;
}

message::Welcome ScriptedDevice::join(const message::Hello& hello) {
  connect();
  send(hello);
  return expect<message::Welcome>();
}

void ScriptedDevice::send(const protocol::DeviceMessage& message) { channel_->send(protocol::encode(message)); }

std::optional<protocol::CoordinatorMessage> ScriptedDevice::hear(Duration limit) {
  const auto event = next(limit);
  if (!event) return std::nullopt;
  if (const auto* bytes = std::get_if<std::vector<std::byte>>(&*event))
    return protocol::decode_coordinator(*bytes).value();
  throw std::runtime_error("the connection was lost");
}

void ScriptedDevice::await_end(Duration limit) {
  while (const auto event = next(limit))
    if (std::holds_alternative<protocol::Disconnected>(*event)) return hang_up();
  throw std::runtime_error("the connection goes on");
}

// A channel's poll() may return early with nothing.
std::optional<protocol::ChannelEvent> ScriptedDevice::next(Duration limit) {
  const auto until = std::chrono::steady_clock::now() + limit;
  for (;;) {
    const Duration left = until - std::chrono::steady_clock::now();
    if (auto event = channel_->poll(std::max(Duration::zero(), left))) return event;
    if (left <= Duration::zero()) return std::nullopt;
  }
}

Status ScriptedDevice::upload(ScriptedUpdate& update) {
  send(update.offer);
  return send_chunks(expect<message::UploadTicket>(), update);
}

Status ScriptedDevice::send_chunks(const message::UploadTicket& ticket, ScriptedUpdate& update) {
  return bulk_->upload(ticket.ticket, update.offer.object, ticket.first_chunk, update, std::chrono::seconds(60),
                       [] { return true; });
}

std::string ScriptedDevice::describe(const protocol::CoordinatorMessage& m) {
  static constexpr std::array<const char*, 9> kNames{"Welcome",      "Redeemed", "Refused", "Assign", "ModelTicket",
                                                     "UploadTicket", "Receipt",  "Revoke",  "Drain"};
  std::string text = kNames.at(m.index());
  if (const auto* refused = std::get_if<message::Refused>(&m))
    text += " (" + std::string(text_of(refused->refusal).name) + ") " + refused->detail;
  if (const auto* revoke = std::get_if<message::Revoke>(&m))
    text += " (" + std::string(text_of(revoke->refusal).name) + ")";
  return text;
}

}  // namespace shoal::testing
