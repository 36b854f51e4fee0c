// A journaled event as recovery reads it from a damaged disk; with it the archive that all state is kept in.
#include "base/archive.h"
#include "base/check.h"
#include "coordinator/store.h"
#include "tests/fuzz/fuzz_target.h"

using namespace shoal;

FUZZ_TARGET(journal_record) {
  const std::string_view bytes(reinterpret_cast<const char*>(input.data()), input.size());
  const auto record = decode_state<coordinator::JournalRecord>(bytes);
  if (record) SHOAL_CHECK(encode_state(*record) == bytes, "two encodings stand for one record");
}
