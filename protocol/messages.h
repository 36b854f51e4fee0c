// Control-plane messages as plain structs. wire.h turns them into Cap'n Proto bytes and back.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <variant>

#include "base/digest.h"
#include "base/ids.h"
#include "base/time.h"
#include "protocol/facts.h"
#include "protocol/refusal.h"
#include "protocol/sealed_object.h"

namespace shoal::protocol {

// The control protocol's versions that this build speaks.
inline constexpr std::uint16_t kOldestProtocol = 1;
inline constexpr std::uint16_t kNewestProtocol = 1;

// One-time access to the bulk plane for one object, in one direction.
struct Ticket {
  std::string endpoint;  // tcp://host:port
  std::string user;      // PLAIN user name: the ticket's id
  std::string secret;    // PLAIN password
  friend bool operator==(const Ticket&, const Ticket&) = default;
};

namespace message {

// ---- device to coordinator ----

// Opens every session. `unsent` names an update that waits on the device's disk.
struct Hello {
  std::uint16_t oldest = kOldestProtocol, newest = kNewestProtocol;
  std::string build;
  DeviceFacts facts;
  AssignmentId working;       // assignment it holds, 0 if none
  AssignmentId unsent;        // update it offers again, 0 if none
  std::uint64_t process = 0;  // drawn when the program starts: tells a reconnect from a second client with the same key
  friend bool operator==(const Hello&, const Hello&) = default;
};
// Sent on a connection made with an invitation's one-time key. Repeating it with the same device key succeeds.
struct Redeem {
  std::uint16_t oldest = kOldestProtocol, newest = kNewestProtocol;
  std::string name;                           // for people; need not be unique
  std::array<std::uint8_t, 32> device_key{};  // public CURVE key that the device made itself
  friend bool operator==(const Redeem&, const Redeem&) = default;
};
struct Heartbeat {
  friend bool operator==(const Heartbeat&, const Heartbeat&) = default;
};
// Asks for a ticket to download the base model of an assignment.
struct FetchModel {
  AssignmentId assignment;
  friend bool operator==(const FetchModel&, const FetchModel&) = default;
};
// Offers a finished update; answered with UploadTicket, Receipt or Refused.
struct OfferUpdate {
  AssignmentId assignment;
  UpdateFacts facts;
  ObjectInfo object;
  friend bool operator==(const OfferUpdate&, const OfferUpdate&) = default;
};
struct EvaluationDone {
  AssignmentId assignment;
  EvaluationFacts facts;
  friend bool operator==(const EvaluationDone&, const EvaluationDone&) = default;
};
struct TaskFailed {
  AssignmentId assignment;
  std::string reason;                      // for people
  Refusal refusal = Refusal::kTaskFailed;  // one that is_found_by_client()
  friend bool operator==(const TaskFailed&, const TaskFailed&) = default;
};
struct Goodbye {
  friend bool operator==(const Goodbye&, const Goodbye&) = default;
};

// ---- coordinator to device ----

struct Welcome {
  std::uint16_t protocol = kNewestProtocol;
  DeviceId device;
  Duration heartbeat{};         // send something at least this often
  Duration reconnect_window{};  // after a lost connection wait a random part of this
  friend bool operator==(const Welcome&, const Welcome&) = default;
};
struct Redeemed {
  DeviceId device;
  bool approved = true;  // false: wait for the operator
  friend bool operator==(const Redeemed&, const Redeemed&) = default;
};
// With assignment 0 the session itself is refused.
struct Refused {
  Refusal refusal = Refusal::kNone;
  AssignmentId assignment;
  std::string detail;      // what, beyond the reason's own sentence
  Duration retry_after{};  // 0: do not retry
  friend bool operator==(const Refused&, const Refused&) = default;
};
struct Assign {
  Assignment assignment;
  Digest model;  // SHA-256 of the safetensors file; a cached copy may be used
  std::uint64_t model_bytes = 0;
  friend bool operator==(const Assign&, const Assign&) = default;
};
struct ModelTicket {
  AssignmentId assignment;
  Ticket ticket;
  ObjectInfo object;
  friend bool operator==(const ModelTicket&, const ModelTicket&) = default;
};
struct UploadTicket {
  AssignmentId assignment;
  Ticket ticket;
  std::uint32_t first_chunk = 0;  // chunks before it are held already
  friend bool operator==(const UploadTicket&, const UploadTicket&) = default;
};
struct Receipt {
  AssignmentId assignment;
  friend bool operator==(const Receipt&, const Receipt&) = default;
};
// The assignment is void; drop its work.
struct Revoke {
  AssignmentId assignment;
  Refusal refusal = Refusal::kNone;
  friend bool operator==(const Revoke&, const Revoke&) = default;
};
// A job that this device could have worked for leaves it out.
struct PassedOver {
  Refusal refusal = Refusal::kNone;
  std::string detail;  // for people: which job, and what to do
  friend bool operator==(const PassedOver&, const PassedOver&) = default;
};
// The coordinator drains: come back within the window.
struct Drain {
  Duration reconnect_window{};
  friend bool operator==(const Drain&, const Drain&) = default;
};

}  // namespace message

using DeviceMessage =
    std::variant<message::Hello, message::Redeem, message::Heartbeat, message::FetchModel, message::OfferUpdate,
                 message::EvaluationDone, message::TaskFailed, message::Goodbye>;
using CoordinatorMessage =
    std::variant<message::Welcome, message::Redeemed, message::Refused, message::Assign, message::ModelTicket,
                 message::UploadTicket, message::Receipt, message::Revoke, message::Drain, message::PassedOver>;

}  // namespace shoal::protocol
