// Who this device is and where its coordinator is, in the state folder.
//
//   FOLDER/device.key     the key pair that the device made itself (protocol/keys.h), 0600; never leaves it
//   FOLDER/invitation     until it is redeemed: the invitation with its one-time secret, 0600
//   FOLDER/coordinator    after that: name, endpoint and server key, as lines of text, and the public half of the
//                         invitation's key
//   FOLDER/lock           held while a client runs
#pragma once

#include <optional>
#include <string>

#include "base/ids.h"
#include "base/result.h"
#include "protocol/invitation.h"
#include "protocol/transport.h"

namespace shoal::client {

struct Coordinator {
  std::string name, endpoint;
  protocol::PublicKey key{};
};

// The state folder, held alone. Not thread-safe.
class Enrolment {
 public:
  // kNotFound, with what to do, when nobody joined in this folder; kUnavailable when another client holds it.
  static Result<Enrolment> open(const std::string& folder);
  // Makes the folder and the key if needed, and keeps the invitation until complete(). The invitation that was redeemed
  // here last is not redeemed again, so that a unit file may name it for ever. kInvalid when the folder belongs to
  // another coordinator.
  static Result<Enrolment> join(const std::string& folder, const protocol::Invitation& invitation);

  ~Enrolment();
  Enrolment(Enrolment&& other) noexcept;
  Enrolment& operator=(Enrolment&&) = delete;

  const std::string& folder() const { return folder_; }
  const protocol::KeyPair& keys() const { return keys_; }
  const Coordinator& coordinator() const { return coordinator_; }
  // Set while an invitation waits to be redeemed.
  const std::optional<protocol::Invitation>& invitation() const { return invitation_; }

  // The coordinator knows this device: forgets the invitation and its secret. Durable on return.
  Status complete();

 private:
  Enrolment(std::string folder, int lock) : folder_(std::move(folder)), lock_(lock) {}
  static Result<Enrolment> lock(const std::string& folder);
  Status load();

  std::string folder_;
  int lock_ = -1;
  protocol::KeyPair keys_;
  Coordinator coordinator_;
  std::optional<protocol::PublicKey> redeemed_;  // the invitation that was redeemed last
  std::optional<protocol::Invitation> invitation_;
};

}  // namespace shoal::client
