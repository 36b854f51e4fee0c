#include "protocol/invitation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "protocol/keys.h"
#include "protocol/limits.h"

namespace shoal::protocol {
namespace {

using ::testing::HasSubstr;

Invitation sample() {
  return {.coordinator = "Fleet of the north shore",
          .endpoint = "tcp://fleet.example:7700",
          .server_key = make_key_pair()->public_key,
          .key = *make_key_pair(),
          .expires = 1'790'000'000};
}

std::string replaced(std::string text, std::string_view old_text, std::string_view new_text) {
  const std::size_t at = text.find(old_text);
  EXPECT_NE(at, std::string::npos) << old_text;
  return text.replace(at, old_text.size(), new_text);
}

void expect_refused(const std::string& text, const char* why) {
  const Result<Invitation> parsed = parse_invitation(text);
  ASSERT_FALSE(parsed.ok()) << text;
  EXPECT_EQ(parsed.error().code(), ErrorCode::kInvalid);
  EXPECT_THAT(parsed.error().to_string(), HasSubstr(why));
}

TEST(InvitationTest, ComesBackAsItWas) {
  for (int i = 0; i < 200; ++i) {  // keys with every character of Z85, '#' and '=' among them
    const Invitation invitation = sample();
    const Result<Invitation> parsed = parse_invitation(format_invitation(invitation));
    ASSERT_TRUE(parsed.ok()) << parsed.error().to_string();
    ASSERT_EQ(*parsed, invitation);
  }
}

TEST(InvitationTest, TheLongestOneFits) {
  Invitation invitation = sample();
  invitation.coordinator = std::string(kMaxNameBytes, 'c');
  invitation.endpoint = "tcp://" + std::string(kMaxHostBytes, 'h') + ":65535";
  EXPECT_EQ(*parse_invitation(format_invitation(invitation)), invitation);
}

TEST(InvitationTest, SurvivesWhatMailAndEditorsDoToText) {
  const Invitation invitation = sample();
  std::string text = format_invitation(invitation);
  for (std::size_t at = 0; (at = text.find('\n', at)) != std::string::npos; at += 3) text.replace(at, 1, " \r\n");
  EXPECT_EQ(*parse_invitation("\n  \n# pasted\n" + text + "\n"), invitation);
  EXPECT_EQ(*parse_invitation(replaced(format_invitation(invitation), "expires = ", "\texpires=")), invitation);
}

TEST(InvitationTest, SaysWhatIsWrong) {
  const std::string good = format_invitation(sample());
  expect_refused("", "'shoal-invitation = ...' is missing");
  expect_refused("hello\n", "line 1 is not of the form");
  expect_refused(good + "colour = blue\n", "unknown name 'colour'");
  expect_refused(good + "expires = 1\n", "repeats 'expires'");
  expect_refused(replaced(good, "expires = 1790000000\n", ""), "'expires = ...' is missing");
  expect_refused(replaced(good, "shoal-invitation = 1", "shoal-invitation = 2"), "format '2'");
  expect_refused(replaced(good, "tcp://", "http://"), "does not begin with tcp://");
  expect_refused(replaced(good, "server-key = ", "server-key = x"), "'server-key' is not a key");
  expect_refused(replaced(good, "secret-key = ", "secret-key = \""), "'secret-key' is not a key");
  expect_refused(replaced(good, "1790000000", "soon"), "'expires' is not a number");
  expect_refused(replaced(good, "1790000000", "1790000000000000000000"), "'expires' is not a number");
  expect_refused(replaced(good, "1790000000", "0"), "'expires' is not a time");
  expect_refused(replaced(good, "coordinator = Fleet of the north shore", "coordinator ="),
                 "'coordinator' is not a name");
  expect_refused(replaced(good, "Fleet of", std::string(kMaxNameBytes, 'x')), "'coordinator' is not a name");
  expect_refused(good + std::string(kMaxInvitationBytes, '#'), "longer than");
}

TEST(InvitationTest, KeyHalvesOfTwoInvitationsDoNotMix) {
  const Invitation first = sample(), second = sample();
  expect_refused(
      replaced(format_invitation(first), z85_encode(first.key.public_key), z85_encode(second.key.public_key)),
      "does not belong");
}

TEST(InvitationTest, NoTruncationIsAccepted) {
  const std::string good = format_invitation(sample());
  const std::size_t expires = good.find("1790000000");
  for (std::size_t n = 0; n <= expires; ++n) ASSERT_FALSE(parse_invitation(good.substr(0, n)).ok()) << n;
}

}  // namespace
}  // namespace shoal::protocol
