#include "protocol/invitation.h"

#include <charconv>

#include "base/check.h"
#include "protocol/key_value_text.h"
#include "protocol/keys.h"
#include "protocol/limits.h"
#include "protocol/message_limits.h"

namespace shoal::protocol {
namespace {

constexpr std::string_view kFormat = "1";
constexpr std::string_view kNames[] = {"shoal-invitation", "coordinator", "endpoint", "server-key",
                                       "public-key",       "secret-key",  "expires"};

Status parse_one_key(const std::string& name, std::string_view text, std::array<std::uint8_t, 32>& key) {
  Result<PublicKey> parsed = parse_key(text);
  if (!parsed.ok()) return std::move(parsed).error().because_of_this("'" + name + "' is not a key");
  key = *parsed;
  return {};
}

Status check(const Invitation& invitation) {
  SHOAL_TRY(check_endpoint(invitation.endpoint));
  if (invitation.coordinator.empty() || one_line(invitation.coordinator, kMaxNameBytes) != invitation.coordinator)
    return Error(ErrorCode::kInvalid,
                 "'coordinator' is not a name of 1 to " + std::to_string(kMaxNameBytes) + " bytes");
  if (invitation.expires <= 0) return Error(ErrorCode::kInvalid, "'expires' is not a time after 1970, in seconds");
  return {};
}

Result<Invitation> parse(std::string_view text) {
  if (text.size() > kMaxInvitationBytes)
    return Error(ErrorCode::kInvalid, "it is longer than " + std::to_string(kMaxInvitationBytes) + " bytes");
  SHOAL_TRY_ASSIGN(auto values, parse_key_value_text(text, kNames));
  if (values["shoal-invitation"] != kFormat)
    return Error(ErrorCode::kInvalid, "it has format '" + one_line(values["shoal-invitation"], 20) +
                                          "' and this program reads format " + std::string(kFormat));
  Invitation invitation;
  invitation.coordinator = values["coordinator"];
  invitation.endpoint = values["endpoint"];
  SHOAL_TRY(parse_one_key("server-key", values["server-key"], invitation.server_key));
  SHOAL_TRY(parse_one_key("public-key", values["public-key"], invitation.key.public_key));
  SHOAL_TRY(parse_one_key("secret-key", values["secret-key"], invitation.key.secret_key));

  const std::string& expires = values["expires"];
  const char* const last = expires.data() + expires.size();
  if (const auto [end, error] = std::from_chars(expires.data(), last, invitation.expires);
      error != std::errc{} || end != last)
    return Error(ErrorCode::kInvalid, "'expires' is not a number of seconds");
  SHOAL_TRY(check(invitation));
  SHOAL_TRY_ASSIGN(const PublicKey expected, public_key_of(invitation.key.secret_key));
  if (invitation.key.public_key != expected)
    return Error(ErrorCode::kInvalid, "'secret-key' does not belong to 'public-key'");
  return invitation;
}

}  // namespace

std::string format_invitation(const Invitation& invitation) {
  const Status within_limits = check(invitation);
  SHOAL_CHECK(within_limits.ok(), "an invitation is out of its limits: " + within_limits.error().to_string());
  std::string text = "# An invitation to a Shoal federation. It admits one device, once: shoal-client --join FILE\n";
  const auto line = [&](std::string_view name, std::string_view value) {
    text.append(name).append(" = ").append(value) += '\n';
  };
  line("shoal-invitation", kFormat);
  line("coordinator", invitation.coordinator);
  line("endpoint", invitation.endpoint);
  line("server-key", z85_encode(invitation.server_key));
  line("public-key", z85_encode(invitation.key.public_key));
  line("secret-key", z85_encode(invitation.key.secret_key));
  line("expires", std::to_string(invitation.expires));
  return text;
}

Result<Invitation> parse_invitation(std::string_view text) {
  Result<Invitation> invitation = parse(text);
  if (invitation.ok()) return invitation;
  return std::move(invitation)
      .error()
      .because_of_this("the invitation is damaged or was made for another release; ask for a new one");
}

}  // namespace shoal::protocol
