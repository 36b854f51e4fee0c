#include "coordinator/registry.h"

#include <gtest/gtest.h>

#include "coordinator/memory_store.h"

namespace shoal::coordinator {
namespace {

using protocol::PeerClass;
using protocol::PublicKey;
using protocol::Refusal;

PublicKey key(std::uint8_t n) {
  PublicKey k{};
  k[0] = n;
  return k;
}

class RegistryTest : public ::testing::Test {
 protected:
  RegistryTest() { registry = Registry::load(store.journal).value(); }
  // What a restart finds.
  void restart() {
    store.crash();
    registry = Registry::load(store.journal).value();
  }
  DeviceRecord enrol(std::uint8_t invitation, std::uint8_t device, bool approve = true) {
    EXPECT_TRUE(registry->invite(key(invitation), 1000).ok());
    return std::get<DeviceRecord>(registry->redeem(key(invitation), key(device), "board", approve, 10).value());
  }
  Refusal refusal(std::uint8_t invitation, std::uint8_t device, std::int64_t now) {
    return std::get<Refusal>(registry->redeem(key(invitation), key(device), "board", true, now).value());
  }

  MemoryStore store;
  std::unique_ptr<Registry> registry;
};

TEST_F(RegistryTest, AdmitsOnlyKeysThatItKnows) {
  EXPECT_EQ(registry->admit(key(1)), std::nullopt);
  ASSERT_TRUE(registry->invite(key(1), 1000).ok());
  EXPECT_EQ(registry->admit(key(1)), PeerClass::kInvitation);
  EXPECT_EQ(registry->admit(key(2)), std::nullopt);
  ASSERT_TRUE(registry->redeem(key(1), key(2), "board", true, 10).ok());
  EXPECT_EQ(registry->admit(key(2)), PeerClass::kDevice);
}

TEST_F(RegistryTest, RedeemingAgainWithTheSameDeviceKeySucceedsAndWithAnotherDoesNot) {
  const DeviceRecord first = enrol(1, 2);
  const auto again = registry->redeem(key(1), key(2), "board", true, 5000);
  EXPECT_EQ(std::get<DeviceRecord>(*again).id, first.id) << "also after the invitation's expiry";
  EXPECT_EQ(refusal(1, 3, 10), Refusal::kInvitationUsed);
}

TEST_F(RegistryTest, RefusesExpiredInvitationsAndRevokedDevices) {
  ASSERT_TRUE(registry->invite(key(1), 1000).ok());
  EXPECT_EQ(refusal(1, 2, 1000), Refusal::kInvitationExpired);
  const DeviceRecord device = enrol(3, 4);
  ASSERT_TRUE(registry->set_standing(device.id, Standing::kRevoked).ok());
  EXPECT_EQ(registry->admit(key(4)), PeerClass::kRefused);
  ASSERT_TRUE(registry->invite(key(5), 1000).ok());
  EXPECT_EQ(refusal(5, 4, 10), Refusal::kRevoked) << "a revoked key does not come back by a new invitation";
}

TEST_F(RegistryTest, SurvivesARestartWithEverythingThatWasAnswered) {
  const DeviceRecord device = enrol(1, 2, false);
  registry->note_refusal(device.id, Refusal::kAwaitingApproval, "soon", 11);
  ASSERT_TRUE(registry->save_refusals(1).ok());
  ASSERT_TRUE(registry->invite(key(7), 1000).ok());
  restart();
  const DeviceRecord* found = registry->find(key(2));
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->id, device.id);
  EXPECT_EQ(found->standing, Standing::kPending);
  EXPECT_EQ(found->last_refusal, Refusal::kAwaitingApproval);
  EXPECT_EQ(registry->open_invitations(10), 1u);
  EXPECT_EQ(enrol(8, 9).id.value, device.id.value + 1) << "ids are never used again";
}

TEST_F(RegistryTest, WritesRefusalsWhenAskedAndEveryDeviceInItsTurn) {
  const DeviceId devices[] = {enrol(1, 2).id, enrol(3, 4).id, enrol(5, 6).id};
  int puts = 0;
  store.faults.before = [&](StoreOperation operation) -> Status {
    puts += operation == StoreOperation::kPut;
    return {};
  };
  const auto refuse_all = [&] {
    for (int i = 0; i < 1000; ++i)
      for (const DeviceId device : devices) registry->note_refusal(device, Refusal::kMalformed, std::to_string(i), i);
  };
  refuse_all();
  EXPECT_EQ(puts, 0);
  EXPECT_EQ(registry->find(devices[0])->last_refusal_at, 999) << "the newest is known at once";
  ASSERT_TRUE(registry->save_refusals(2).ok());
  EXPECT_EQ(puts, 2);
  refuse_all();
  ASSERT_TRUE(registry->save_refusals(2).ok());
  restart();
  for (const DeviceId device : devices) EXPECT_EQ(registry->find(device)->last_refusal, Refusal::kMalformed);
}

TEST_F(RegistryTest, SurvivesACrashBetweenTheDeviceAndItsInvitation) {
  ASSERT_TRUE(registry->invite(key(1), 1000).ok());
  int puts = 0;
  store.faults.before = [&](StoreOperation operation) -> Status {
    if (operation == StoreOperation::kPut && ++puts == 2) return Error(ErrorCode::kFailed, "crash");
    return {};
  };
  EXPECT_FALSE(registry->redeem(key(1), key(2), "board", true, 10).ok());
  restart();
  const auto again = registry->redeem(key(1), key(2), "board", true, 12);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(std::get<DeviceRecord>(*again).id, DeviceId{1});
  EXPECT_EQ(registry->devices().size(), 1u);
}

TEST_F(RegistryTest, ForgetsOldInvitations) {
  ASSERT_TRUE(registry->invite(key(1), 1000).ok());
  ASSERT_TRUE(registry->sweep(1000 + 3600).ok());
  EXPECT_EQ(registry->admit(key(1)), PeerClass::kInvitation) << "an expired one still says why";
  ASSERT_TRUE(registry->sweep(1000 + 25 * 3600).ok());
  EXPECT_EQ(registry->admit(key(1)), std::nullopt);
}

TEST_F(RegistryTest, NamesADeviceThatDoesNotExist) {
  const Status status = registry->set_standing(DeviceId{9}, Standing::kApproved);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code(), ErrorCode::kNotFound);
}

}  // namespace
}  // namespace shoal::coordinator
