// The state folder: a key that is made once, an invitation until it is redeemed, one client at a time.
#include "client/enrolment.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "protocol/keys.h"
#include "tests/support/temporary_folder.h"

namespace shoal::client {
namespace {

namespace fs = std::filesystem;

protocol::Invitation invite(const protocol::PublicKey& server) {
  protocol::Invitation invitation;
  invitation.coordinator = "test fleet";
  invitation.endpoint = "tcp://127.0.0.1:7700";
  invitation.server_key = server;
  invitation.key = protocol::make_key_pair().value();
  invitation.expires = 4'000'000'000;
  return invitation;
}

class EnrolmentTest : public ::testing::Test {
 protected:
  std::string folder() const { return folder_.file("state"); }
  shoal::testing::TemporaryFolder folder_;
  protocol::PublicKey server_ = protocol::make_key_pair().value().public_key;
};

TEST_F(EnrolmentTest, KeepsTheInvitationUntilItIsRedeemedAndThenForgetsItsSecret) {
  const protocol::Invitation invitation = invite(server_);
  protocol::KeyPair keys;
  {
    auto joined = Enrolment::join(folder(), invitation);
    ASSERT_TRUE(joined.ok()) << joined.error().to_string();
    keys = joined->keys();
  }
  {
    auto again = Enrolment::open(folder());
    ASSERT_TRUE(again.ok()) << again.error().to_string();
    EXPECT_EQ(again->keys().secret_key, keys.secret_key);
    ASSERT_TRUE(again->invitation());
    EXPECT_EQ(*again->invitation(), invitation);
    ASSERT_TRUE(again->complete().ok());
  }
  auto enrolled = Enrolment::open(folder());
  ASSERT_TRUE(enrolled.ok()) << enrolled.error().to_string();
  EXPECT_FALSE(enrolled->invitation());
  EXPECT_EQ(enrolled->coordinator().endpoint, invitation.endpoint);
  EXPECT_EQ(enrolled->coordinator().name, "test fleet");
  EXPECT_EQ(enrolled->coordinator().key, server_);
  const std::string secret = protocol::z85_encode(invitation.key.secret_key);
  for (const auto& entry : fs::directory_iterator(folder())) {
    std::ostringstream text;
    text << std::ifstream(entry.path()).rdbuf();
    EXPECT_EQ(text.str().find(secret), std::string::npos) << entry.path();
    EXPECT_EQ(fs::status(entry).permissions(), fs::perms::owner_read | fs::perms::owner_write) << entry.path();
  }
  EXPECT_EQ(fs::status(folder()).permissions(), fs::perms::owner_all);
}

TEST_F(EnrolmentTest, JoiningAgainKeepsTheKey) {
  const auto first = [&] { return Enrolment::join(folder(), invite(server_)).value().keys().public_key; }();
  auto again = Enrolment::join(folder(), invite(server_));
  ASSERT_TRUE(again.ok()) << again.error().to_string();
  EXPECT_EQ(again->keys().public_key, first);
}

// As with a unit file that names its invitation for ever: the coordinator has long forgotten it.
TEST_F(EnrolmentTest, AnInvitationThatWasRedeemedHereIsNotRedeemedAgainButAnotherIs) {
  const protocol::Invitation invitation = invite(server_);
  ASSERT_TRUE(Enrolment::join(folder(), invitation).value().complete().ok());
  {
    auto again = Enrolment::join(folder(), invitation);
    ASSERT_TRUE(again.ok()) << again.error().to_string();
    EXPECT_FALSE(again->invitation());
    EXPECT_EQ(again->coordinator().key, server_);
  }
  // A coordinator that lost its state takes the device up again.
  EXPECT_TRUE(Enrolment::join(folder(), invite(server_)).value().invitation());
}

TEST_F(EnrolmentTest, AFolderBelongsToOneCoordinator) {
  ASSERT_TRUE(Enrolment::join(folder(), invite(server_)).ok());
  const auto other = Enrolment::join(folder(), invite(protocol::make_key_pair().value().public_key));
  ASSERT_FALSE(other.ok());
  EXPECT_EQ(other.error().code(), ErrorCode::kInvalid);
}

TEST_F(EnrolmentTest, AFolderServesOneClientAtATime) {
  auto held = Enrolment::join(folder(), invite(server_));
  ASSERT_TRUE(held.ok());
  const auto second = Enrolment::open(folder());
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code(), ErrorCode::kUnavailable);
}

TEST_F(EnrolmentTest, SaysHowToJoinWhereNobodyJoined) {
  const auto nobody = Enrolment::open(folder());
  ASSERT_FALSE(nobody.ok());
  EXPECT_EQ(nobody.error().code(), ErrorCode::kNotFound);
  EXPECT_NE(nobody.error().to_string().find("--join"), std::string::npos);
}

}  // namespace
}  // namespace shoal::client
