#include "coordinator/device_set.h"

#include <gtest/gtest.h>

#include <set>

#include "base/rng.h"

namespace shoal::coordinator {
namespace {

TEST(DeviceSet, DoesWhatASortedSetDoes) {
  Stream draw(3, "device set");
  DeviceSet devices;
  std::set<DeviceId> naive;
  for (int i = 0; i < 20000; ++i) {
    const DeviceId id{1 + draw.below(i < 10000 ? 300 : 5000)};
    ASSERT_EQ(devices.contains(id), naive.contains(id));
    if (draw.below(2) == 0) {
      ASSERT_EQ(devices.insert(id), naive.insert(id).second);
    } else {
      ASSERT_EQ(devices.erase(id), naive.erase(id) == 1);
    }
    ASSERT_EQ(devices.size(), naive.size());
    if (!naive.empty() && i % 10 == 0) {
      const std::size_t rank = draw.below(naive.size());
      ASSERT_EQ(devices[rank], *std::next(naive.begin(), static_cast<std::ptrdiff_t>(rank)));
    }
    if (i % 500 == 0) {
      ASSERT_TRUE(std::equal(devices.begin(), devices.end(), naive.begin(), naive.end()));
    }
  }
}

TEST(DeviceSet, IsEmptyAtFirst) {
  const DeviceSet devices;
  EXPECT_TRUE(devices.empty());
  EXPECT_EQ(devices.begin(), devices.end());
  EXPECT_FALSE(devices.contains(DeviceId{1}));
}

TEST(DeviceSetDeathTest, HasNoMemberBeyondItsSize) {
  DeviceSet devices;
  devices.insert(DeviceId{64});
  EXPECT_DEATH((void)devices[1], "no member of this rank");
}

}  // namespace
}  // namespace shoal::coordinator
