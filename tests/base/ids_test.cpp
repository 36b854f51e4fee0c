// Identifiers and digests as values.
#include "base/ids.h"

#include <gtest/gtest.h>

#include <type_traits>
#include <unordered_set>

#include "base/digest.h"

namespace shoal {
namespace {

TEST(Ids, DoNotMix) {
  static_assert(!std::is_convertible_v<JobId, DeviceId>);
  static_assert(!std::is_convertible_v<JobId, std::uint64_t>);
  static_assert(!std::is_constructible_v<JobId, DeviceId>);
  EXPECT_FALSE(JobId{});
  EXPECT_TRUE(JobId{1});
  EXPECT_LT(JobId{1}, JobId{2});
  EXPECT_EQ(std::unordered_set<JobId>({JobId{1}, JobId{2}, JobId{1}}).size(), 2u);
}

TEST(Digest, PrintsAsHex) {
  Digest digest;
  digest.bytes[0] = 0xa0;
  digest.bytes[31] = 0x0f;
  EXPECT_EQ(digest.hex(), "a0" + std::string(60, '0') + "0f");
  EXPECT_NE(digest, Digest{});
}

}  // namespace
}  // namespace shoal
