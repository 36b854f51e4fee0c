// A ticket is good once, for a while, with its own secret.
#include "protocol/zmq/ticket_desk.h"

#include <gtest/gtest.h>

#include <set>

namespace shoal::protocol::zmq {
namespace {

using namespace std::chrono_literals;

constexpr Time kStart{1000s};

class TicketDeskTest : public ::testing::Test {
 protected:
  Ticket issue(Duration validity = 60s) { return desk_.issue(std::make_shared<Offer>(), kStart, validity).value(); }
  TicketDesk desk_;
};

TEST_F(TicketDeskTest, AdmitsOnceWithItsSecret) {
  const Ticket ticket = issue();
  EXPECT_FALSE(desk_.admit(ticket.user, "wrong", kStart));
  EXPECT_FALSE(desk_.admit("nobody", ticket.secret, kStart));
  EXPECT_TRUE(desk_.admit(ticket.user, ticket.secret, kStart)) << "a wrong guess costs the owner nothing";
  EXPECT_FALSE(desk_.admit(ticket.user, ticket.secret, kStart));
}

TEST_F(TicketDeskTest, EverySingleCharacterOfTheSecretCounts) {
  const Ticket ticket = issue();
  for (std::size_t i = 0; i < ticket.secret.size(); ++i) {
    std::string other = ticket.secret;
    other[i] = static_cast<char>(other[i] ^ 1);
    EXPECT_FALSE(desk_.admit(ticket.user, other, kStart));
  }
}

TEST_F(TicketDeskTest, ExpiresAtItsHour) {
  const Ticket early = issue(60s), late = issue(60s);
  EXPECT_TRUE(desk_.admit(early.user, early.secret, kStart + 60s - 1ns));
  EXPECT_FALSE(desk_.admit(late.user, late.secret, kStart + 60s));
}

TEST_F(TicketDeskTest, StartsOnlyWhatWasAdmittedAndOnlyOnce) {
  const Ticket ticket = issue();
  EXPECT_EQ(desk_.start(ticket.user), nullptr);
  ASSERT_TRUE(desk_.admit(ticket.user, ticket.secret, kStart));
  EXPECT_NE(desk_.start(ticket.user), nullptr);
  EXPECT_EQ(desk_.start(ticket.user), nullptr);
}

TEST_F(TicketDeskTest, StartsWithATicketOfTheSameDeviceOnlyOnce) {
  const auto offer = std::make_shared<Offer>();
  offer->account = {DeviceId{3}, JobId{1}};
  const Ticket ticket = desk_.issue(offer, kStart, 60s).value();
  EXPECT_EQ(desk_.start(ticket.user, "wrong", DeviceId{3}, kStart), nullptr);
  EXPECT_EQ(desk_.start("nobody", ticket.secret, DeviceId{3}, kStart), nullptr);
  EXPECT_EQ(desk_.start(ticket.user, ticket.secret, DeviceId{4}, kStart), nullptr);
  EXPECT_EQ(desk_.start(ticket.user, ticket.secret, DeviceId{3}, kStart + 60s), nullptr);
  EXPECT_EQ(desk_.start(ticket.user, ticket.secret, DeviceId{3}, kStart + 60s - 1ns), offer);
  EXPECT_EQ(desk_.start(ticket.user, ticket.secret, DeviceId{3}, kStart), nullptr);
  EXPECT_FALSE(desk_.admit(ticket.user, ticket.secret, kStart)) << "it is spent at the handshake, too";
  EXPECT_EQ(desk_.start(ticket.user), nullptr);
}

TEST_F(TicketDeskTest, WhatAHandshakeHasShownIsSpent) {
  const Ticket ticket = issue();
  ASSERT_TRUE(desk_.admit(ticket.user, ticket.secret, kStart));
  EXPECT_EQ(desk_.start(ticket.user, ticket.secret, DeviceId{}, kStart), nullptr);
}

TEST_F(TicketDeskTest, SweepsWhatExpiredAndWhatNeverBegan) {
  const Ticket offered = issue(60s), admitted = issue(60s), running = issue(60s);
  ASSERT_TRUE(desk_.admit(admitted.user, admitted.secret, kStart));
  ASSERT_TRUE(desk_.admit(running.user, running.secret, kStart));
  ASSERT_NE(desk_.start(running.user), nullptr);

  desk_.sweep(kStart + 60s, 90s);
  EXPECT_EQ(desk_.remove(offered.user), nullptr);
  desk_.sweep(kStart + 90s, 90s);
  EXPECT_EQ(desk_.remove(admitted.user), nullptr);
  EXPECT_NE(desk_.remove(running.user), nullptr) << "a running transfer is the table's to end";
  EXPECT_TRUE(desk_.empty());
}

TEST_F(TicketDeskTest, UsersAndSecretsAreLongAndNeverRepeat) {
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    const Ticket ticket = issue();
    EXPECT_EQ(ticket.user.size(), 32u);
    EXPECT_EQ(ticket.secret.size(), 64u);
    EXPECT_TRUE(seen.insert(ticket.user).second && seen.insert(ticket.secret).second);
  }
}

}  // namespace
}  // namespace shoal::protocol::zmq
