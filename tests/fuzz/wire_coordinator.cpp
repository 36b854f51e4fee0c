// What the coordinator may say to a device.
#include "base/check.h"
#include "protocol/message_limits.h"
#include "protocol/wire.h"
#include "tests/fuzz/fuzz_target.h"

using namespace shoal::protocol;

FUZZ_TARGET(wire_coordinator) {
  const auto message = decode_coordinator(input);
  if (!message.ok()) return;
  SHOAL_CHECK(check(*message).ok(), "a decoded message is out of its limits");
  const auto again = decode_coordinator(encode(*message));
  SHOAL_CHECK(again.ok() && *again == *message, "a message does not survive being sent on");
}
