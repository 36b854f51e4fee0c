// What a device may say to the coordinator.
#include "base/check.h"
#include "protocol/message_limits.h"
#include "protocol/wire.h"
#include "tests/fuzz/fuzz_target.h"

using namespace shoal::protocol;

FUZZ_TARGET(wire_device) {
  const auto message = decode_device(input);
  if (!message.ok()) return;
  SHOAL_CHECK(check(*message).ok(), "a decoded message is out of its limits");
  const auto again = decode_device(encode(*message));
  SHOAL_CHECK(again.ok() && *again == *message, "a message does not survive being sent on");
}
