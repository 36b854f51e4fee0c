// The ticket that opens a further transfer of a bulk connection.
#include "base/check.h"
#include "protocol/bulk_frame.h"
#include "tests/fuzz/fuzz_target.h"

using namespace shoal::protocol;

FUZZ_TARGET(bulk_ticket) {
  const std::string_view bytes(reinterpret_cast<const char*>(input.data()), input.size());
  const auto ticket = decode_bulk_ticket(bytes);
  if (!ticket.ok()) return;
  SHOAL_CHECK(encode(*ticket) == bytes, "two encodings stand for one ticket");
}
