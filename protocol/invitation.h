// The invitation file: what one device needs to join, as a few lines of text that a person can read and paste.
//
//   # comment, or empty line
//   shoal-invitation = 1          format version, first
//   coordinator = NAME            for people
//   endpoint = tcp://HOST:PORT    control plane
//   server-key = Z85              the coordinator's public CURVE key
//   public-key = Z85              one-time CURVE key pair: admits to redeeming, once
//   secret-key = Z85
//   expires = SECONDS             Unix time
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "protocol/transport.h"

namespace shoal::protocol {

// The secret half exists only in the file that is handed to the device; the coordinator keeps the public half, expiry
// and state.
struct Invitation {
  std::string coordinator;  // name, for people
  std::string endpoint;     // of the control plane
  PublicKey server_key{};
  KeyPair key;               // one-time
  std::int64_t expires = 0;  // Unix seconds; the coordinator's clock decides

  friend bool operator==(const Invitation&, const Invitation&) = default;
};

// The members are within their limits (checked).
std::string format_invitation(const Invitation& invitation);
// kInvalid, naming the line: unknown, repeated or missing names, another version, a value out of its limits, key halves
// that do not belong together.
Result<Invitation> parse_invitation(std::string_view text);

}  // namespace shoal::protocol
