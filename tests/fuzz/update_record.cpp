// What a client finds in its folder after a restart. The input is the record's payload; magic and checksum are added.
#include <fstream>
#include <iterator>

#include "base/check.h"
#include "client/update_box.h"
#include "protocol/sha256.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/support/temporary_folder.h"

using namespace shoal;

FUZZ_TARGET(update_record) {
  static const testing::TemporaryFolder folder;
  const Digest check = protocol::sha256(input);
  std::ofstream(folder.file("update.record"), std::ios::binary)
      .write("shoal-update 1\n", 15)
      .write(reinterpret_cast<const char*>(input.data()), std::ssize(input))
      .write(reinterpret_cast<const char*>(check.bytes.data()), std::ssize(check.bytes));
  NoLog log;
  const auto box = client::UpdateBox::open(folder.path().string(), log);
  SHOAL_CHECK(box.ok() && !box->unsent(), "an update without a body was taken up");
}
