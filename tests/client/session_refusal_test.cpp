// How the session takes refusals: of its updates, of its work and of itself; and how it joins.
#include "tests/client/session_script.h"

namespace shoal::client {
namespace {

std::string refusal_name(const ::testing::TestParamInfo<Refusal>& param) {
  std::string name(text_of(param.param).name);
  std::erase(name, '-');
  return name;
}

class FinalRefusal : public ::testing::TestWithParam<Refusal> {};

TEST_P(FinalRefusal, OfAnUpdateDropsItAndSaysWhy) {
  Script s;
  s.go_online();
  s.offer();
  s.hear(refused(GetParam(), kFirst));
  EXPECT_TRUE(s.did<action::DropUpdate>());
  EXPECT_TRUE(s.logged(text_of(GetParam()).sentence));
  EXPECT_EQ(s.session().phase(), Phase::kIdle);
}

INSTANTIATE_TEST_SUITE_P(Session, FinalRefusal,
                         ::testing::Values(Refusal::kLate, Refusal::kReplayed, Refusal::kConflict, Refusal::kWrongShape,
                                           Refusal::kNotFinite, Refusal::kOutOfBound, Refusal::kSampleCount,
                                           Refusal::kTooLarge, Refusal::kUnsealable, Refusal::kTooStale,
                                           Refusal::kRoundAbandoned, Refusal::kLeaseExpired, Refusal::kJobEnded,
                                           Refusal::kMalformed, Refusal::kBudgetTooSmall),
                         refusal_name);

class PassingRefusal : public ::testing::TestWithParam<Refusal> {};

TEST_P(PassingRefusal, KeepsTheUpdateAndOffersItAgain) {
  Script s;
  s.go_online();
  s.offer();
  const Time told = s.now();
  s.hear(refused(GetParam(), kFirst, 7s));
  EXPECT_FALSE(s.did<action::DropUpdate>());
  EXPECT_TRUE(s.logged(text_of(GetParam()).sentence));
  while (!s.tick().sent<message::OfferUpdate>()) ASSERT_LT(s.now(), told + 60s);
  EXPECT_GE(s.now(), told + 7s);
}

INSTANTIATE_TEST_SUITE_P(Session, PassingRefusal,
                         ::testing::Values(Refusal::kStorageFull, Refusal::kBusy, Refusal::kUnsealable), refusal_name);

class SessionEnds : public ::testing::TestWithParam<Refusal> {};

TEST_P(SessionEnds, AtARefusalThatWaitingCannotChange) {
  Script s;
  s.tick();
  s.step(event::Connected{});
  s.hear(refused(GetParam()));
  ASSERT_TRUE(s.did<action::Exit>());
  EXPECT_EQ(s.did<action::Exit>()->refusal, GetParam());
  EXPECT_TRUE(s.logged(text_of(GetParam()).sentence));
  EXPECT_TRUE(s.logged("detail"));
  EXPECT_EQ(s.session().next_timer(), kNever);
  EXPECT_FALSE(s.step(event::Connected{}).did<action::Send>());
}

INSTANTIATE_TEST_SUITE_P(Session, SessionEnds,
                         ::testing::Values(Refusal::kUnknownKey, Refusal::kRevoked, Refusal::kInvitationExpired,
                                           Refusal::kInvitationUsed, Refusal::kClientTooOld,
                                           Refusal::kCoordinatorTooOld, Refusal::kReplacedSession),
                         refusal_name);

TEST(Session, ComesBackAfterTheTimeThatABusyCoordinatorNames) {
  Script s;
  s.tick();
  s.step(event::Connected{});
  const Time told = s.now();
  s.hear(refused(Refusal::kBusy, {}, 30s));
  EXPECT_TRUE(s.did<action::Disconnect>());
  s.tick();
  EXPECT_TRUE(s.did<action::Connect>());
  EXPECT_GE(s.now(), told + 30s);
}

TEST(Session, WaitsForApproval) {
  Script s;
  s.tick();
  s.step(event::Connected{});
  s.hear(refused(Refusal::kAwaitingApproval));
  EXPECT_FALSE(s.did<action::Exit>());
  EXPECT_TRUE(s.logged("approved"));
  EXPECT_TRUE(s.tick().did<action::Connect>());
}

TEST(Session, SaysWhichSideIsOldWhenTheVersionsDoNotMeet) {
  for (const bool newer : {true, false}) {
    Script s;
    s.tick();
    s.step(event::Connected{});
    message::Welcome w = Script::welcome();
    w.protocol = newer ? protocol::kNewestProtocol + 1 : protocol::kOldestProtocol - 1;
    s.hear(w);
    ASSERT_TRUE(s.did<action::Exit>());
    EXPECT_EQ(s.did<action::Exit>()->refusal, newer ? Refusal::kClientTooOld : Refusal::kCoordinatorTooOld);
  }
}

TEST(Session, EndsWhenTheHandshakeIsDenied) {
  Script s;
  s.tick();
  s.step(event::Disconnected{true, "authentication failed"});
  ASSERT_TRUE(s.did<action::Exit>());
  EXPECT_EQ(s.did<action::Exit>()->refusal, Refusal::kUnknownKey);
}

TEST(Session, RedeemsAnInvitationThenConnectsWithItsOwnKey) {
  SessionOptions options;
  options.redeem.emplace();
  options.redeem->name = "board";
  Script s(options);
  s.tick();
  ASSERT_TRUE(s.did<action::Connect>());
  EXPECT_TRUE(s.did<action::Connect>()->with_invitation);
  s.step(event::Connected{});
  ASSERT_TRUE(s.sent<message::Redeem>());
  EXPECT_EQ(s.sent<message::Redeem>()->name, "board");
  // The answer is lost: the same is asked again.
  s.step(event::Disconnected{false, "cut"});
  s.tick();
  EXPECT_TRUE(s.did<action::Connect>()->with_invitation);
  s.step(event::Connected{});
  s.hear(message::Redeemed{DeviceId{3}, true});
  EXPECT_TRUE(s.did<action::Enrolled>());
  s.tick();
  ASSERT_TRUE(s.did<action::Connect>());
  EXPECT_FALSE(s.did<action::Connect>()->with_invitation);
  s.step(event::Connected{});
  EXPECT_TRUE(s.sent<message::Hello>());
}

}  // namespace
}  // namespace shoal::client
