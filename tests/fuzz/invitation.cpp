// The invitation that somebody pastes into a device.
#include "protocol/invitation.h"

#include "base/check.h"
#include "tests/fuzz/fuzz_target.h"

using namespace shoal::protocol;

FUZZ_TARGET(invitation) {
  const auto parsed = parse_invitation({reinterpret_cast<const char*>(input.data()), input.size()});
  if (!parsed.ok()) return;
  const auto again = parse_invitation(format_invitation(*parsed));
  SHOAL_CHECK(again.ok() && *again == *parsed, "an invitation does not survive being written");
}
