// The session against a scripted coordinator: every message and every loss at every stage, one by one.
#include "tests/client/session_script.h"

namespace shoal::client {
namespace {

TEST(Session, SaysHelloWithItsFactsAndComesOnline) {
  SessionOptions options;
  options.build = "build";
  options.facts.train_samples = 480;
  Script s(options);
  s.tick();
  ASSERT_TRUE(s.did<action::Connect>());
  EXPECT_FALSE(s.did<action::Connect>()->with_invitation);
  s.step(event::Connected{});
  ASSERT_TRUE(s.sent<message::Hello>());
  EXPECT_EQ(s.sent<message::Hello>()->build, "build");
  EXPECT_EQ(s.sent<message::Hello>()->facts.train_samples, 480u);
  EXPECT_FALSE(s.sent<message::Hello>()->unsent);
  s.hear(Script::welcome());
  EXPECT_EQ(s.session().link(), Link::kOnline);
  EXPECT_TRUE(s.logged("online as device 3"));
}

TEST(Session, TrainsSealsUploadsAndDropsTheUpdateOnlyAtTheReceipt) {
  Script s;
  s.go_online();
  s.hear(Script::assign(kFirst));
  s.step(event::ModelMissing{s.did<action::FindModel>()->work});
  ASSERT_TRUE(s.sent<message::FetchModel>());
  s.hear(message::ModelTicket{kFirst, {"tcp://host:7703", "user", "secret"}, {}});
  ASSERT_TRUE(s.did<action::DownloadModel>());
  s.step(event::ModelReady{s.did<action::DownloadModel>()->work});
  ASSERT_TRUE(s.did<action::Train>());
  EXPECT_EQ(s.did<action::Train>()->assignment.id, kFirst);
  s.step(event::TrainingFinished{s.did<action::Train>()->work, {}});
  ASSERT_TRUE(s.did<action::Seal>());
  s.step(
      event::UpdateSealed{s.did<action::Seal>()->work, {}, {kFirst.value, 100, protocol::CipherSuite::kAes256Gcm, {}}});
  ASSERT_TRUE(s.sent<message::OfferUpdate>());
  EXPECT_EQ(s.sent<message::OfferUpdate>()->object.id, kFirst.value);
  s.hear(message::UploadTicket{kFirst, {}, 3});
  ASSERT_TRUE(s.did<action::Upload>());
  EXPECT_EQ(s.did<action::Upload>()->first_chunk, 3u);
  s.step(event::UploadFinished{s.did<action::Upload>()->work});
  EXPECT_FALSE(s.did<action::DropUpdate>());
  s.hear(message::Receipt{kFirst});
  EXPECT_TRUE(s.did<action::DropUpdate>());
  EXPECT_EQ(s.session().phase(), Phase::kIdle);
}

TEST(Session, EvaluatesAndReportsUntilAnswered) {
  Script s;
  s.go_online();
  s.hear(Script::assign(kFirst, TaskKind::kEvaluate));
  s.step(event::ModelReady{s.did<action::FindModel>()->work});
  ASSERT_TRUE(s.did<action::Evaluate>());
  const WorkId evaluation = s.did<action::Evaluate>()->work;
  s.step(event::Disconnected{false, "cut"});
  s.step(event::EvaluationFinished{evaluation, {20, 15, 9.5}});
  EXPECT_EQ(s.session().phase(), Phase::kReporting);
  s.go_online();
  ASSERT_TRUE(s.sent<message::EvaluationDone>());
  EXPECT_EQ(s.sent<message::EvaluationDone>()->facts.correct, 15u);
  s.hear(message::Receipt{kFirst});
  EXPECT_EQ(s.session().phase(), Phase::kIdle);
  EXPECT_FALSE(s.did<action::DropUpdate>());
}

TEST(Session, TrainingGoesOnWhileTheConnectionIsLost) {
  Script s;
  s.go_online();
  const WorkId training = s.start_training();
  s.step(event::Disconnected{false, "cut"});
  EXPECT_FALSE(s.did<action::CancelWork>());
  s.step(event::TrainingFinished{training, {}});
  ASSERT_TRUE(s.did<action::Seal>());
  s.step(
      event::UpdateSealed{s.did<action::Seal>()->work, {}, {kFirst.value, 100, protocol::CipherSuite::kAes256Gcm, {}}});
  EXPECT_FALSE(s.sent<message::OfferUpdate>()) << "nobody to offer it to";
  s.tick();
  s.step(event::Connected{});
  ASSERT_TRUE(s.sent<message::Hello>());
  EXPECT_EQ(s.sent<message::Hello>()->unsent, kFirst);
  EXPECT_FALSE(s.sent<message::Hello>()->working);
  s.hear(Script::welcome());
  EXPECT_TRUE(s.sent<message::OfferUpdate>());
}

TEST(Session, KeepsWorkingWhenTheSameAssignmentIsToldAgain) {
  Script s;
  s.go_online();
  s.start_training();
  s.step(event::Disconnected{false, "cut"});
  s.tick();
  s.step(event::Connected{});
  EXPECT_EQ(s.sent<message::Hello>()->working, kFirst);
  s.hear(Script::welcome());
  s.hear(Script::assign(kFirst));
  EXPECT_FALSE(s.did<action::CancelWork>());
  EXPECT_FALSE(s.did<action::FindModel>());
  EXPECT_EQ(s.session().phase(), Phase::kTraining);
}

TEST(Session, OffersAnUpdateOfAnEarlierRun) {
  SessionOptions options;
  options.unsent = UnsentUpdate{kFirst, {}, {kFirst.value, 100, protocol::CipherSuite::kAes256Gcm, {}}};
  Script s(options);
  s.tick();
  s.step(event::Connected{});
  EXPECT_EQ(s.sent<message::Hello>()->unsent, kFirst);
  s.hear(Script::welcome());
  EXPECT_TRUE(s.sent<message::OfferUpdate>());
  s.hear(message::Receipt{kFirst});
  EXPECT_TRUE(s.did<action::DropUpdate>());
}

TEST(Session, OffersAgainWhenNoAnswerComes) {
  Script s;
  s.go_online();
  s.offer();
  int offers = 0;
  for (int i = 0; i < 20; ++i) offers += s.tick().sent<message::OfferUpdate>() != nullptr;
  EXPECT_GE(offers, 2);
}

TEST(Session, ReofferedAfterTheUploadMayBeAskedForTheRestAgain) {
  Script s;
  s.go_online();
  s.offer();
  s.hear(message::UploadTicket{kFirst, {}, 0});
  s.step(event::UploadFinished{s.did<action::Upload>()->work});
  s.step(event::Disconnected{false, "the coordinator crashed"});
  s.go_online();
  ASSERT_TRUE(s.sent<message::OfferUpdate>());
  s.hear(message::UploadTicket{kFirst, {}, 1});
  ASSERT_TRUE(s.did<action::Upload>());
  EXPECT_EQ(s.did<action::Upload>()->first_chunk, 1u);
}

TEST(Session, AnUploadGoesOnWithoutTheControlConnection) {
  Script s;
  s.go_online();
  s.offer();
  s.hear(message::UploadTicket{kFirst, {}, 0});
  const WorkId upload = s.did<action::Upload>()->work;
  s.step(event::Disconnected{false, "cut"});
  EXPECT_FALSE(s.did<action::CancelWork>());
  s.go_online();
  EXPECT_FALSE(s.sent<message::OfferUpdate>()) << "it is on its way";
  s.step(event::WorkFailed{upload, "cut as well"});
  s.tick();
  EXPECT_TRUE(s.sent<message::OfferUpdate>());
}

TEST(Session, RevokedWorkIsCancelledOrDropped) {
  Script training;
  training.go_online();
  training.start_training();
  training.hear(message::Revoke{kFirst, Refusal::kRoundAbandoned});
  EXPECT_TRUE(training.did<action::CancelWork>());
  EXPECT_EQ(training.session().phase(), Phase::kIdle);

  Script uploading;
  uploading.go_online();
  uploading.offer();
  uploading.hear(message::UploadTicket{kFirst, {}, 0});
  uploading.hear(message::Revoke{kFirst, Refusal::kRoundAbandoned});
  EXPECT_TRUE(uploading.did<action::CancelWork>());
  EXPECT_TRUE(uploading.did<action::DropUpdate>());
}

TEST(Session, AnUpdateThatWasSealedAfterItsRevocationIsDropped) {
  Script s;
  s.go_online();
  s.step(event::TrainingFinished{s.start_training(), {}});
  const WorkId sealing = s.did<action::Seal>()->work;
  s.hear(message::Revoke{kFirst, Refusal::kRoundAbandoned});
  EXPECT_EQ(s.session().phase(), Phase::kIdle);
  s.step(event::UpdateSealed{sealing, {}, {kFirst.value, 100, protocol::CipherSuite::kAes256Gcm, {}}});
  ASSERT_TRUE(s.did<action::DropUpdate>());
  EXPECT_EQ(s.did<action::DropUpdate>()->assignment, kFirst);
  EXPECT_FALSE(s.sent<message::OfferUpdate>());
}

TEST(Session, TheEndOfTheLeaseEndsTrainingButNotAFinishedUpdate) {
  Script s;
  s.go_online();
  s.start_training();
  s.step(event::Disconnected{false, "cut"});
  while (s.session().phase() == Phase::kTraining) {
    s.tick();
    if (s.did<action::Connect>()) s.step(event::Disconnected{false, "no route"});
    ASSERT_LE(s.now(), Time{} + 11min);
  }
  EXPECT_GE(s.now(), Time{} + 10min);

  Script finished;
  finished.go_online();
  finished.offer();
  finished.pass(20min).step(event::Tick{});
  EXPECT_FALSE(finished.did<action::DropUpdate>());
  EXPECT_TRUE(finished.sent<message::OfferUpdate>());
}

TEST(Session, ANewAssignmentReplacesUnfinishedWorkAndWaitsForFinishedWork) {
  Script s;
  s.go_online();
  s.start_training(kFirst);
  s.hear(Script::assign(kSecond));
  EXPECT_TRUE(s.did<action::CancelWork>());
  EXPECT_TRUE(s.did<action::FindModel>());
  EXPECT_EQ(s.session().assignment(), kSecond);

  Script finished;
  finished.go_online();
  finished.offer(kFirst);
  finished.hear(Script::assign(kSecond));
  EXPECT_FALSE(finished.did<action::FindModel>());
  finished.hear(refused(Refusal::kLate, kFirst));
  EXPECT_TRUE(finished.did<action::DropUpdate>());
  EXPECT_TRUE(finished.did<action::FindModel>());
  EXPECT_EQ(finished.session().assignment(), kSecond);
}

TEST(Session, FailedWorkIsToldAndToldAgain) {
  Script s;
  s.go_online();
  s.step(event::WorkFailed{s.start_training(), "no plugin"});
  ASSERT_TRUE(s.sent<message::TaskFailed>());
  EXPECT_EQ(s.sent<message::TaskFailed>()->reason, "no plugin");
  EXPECT_EQ(s.sent<message::TaskFailed>()->refusal, Refusal::kTaskFailed);
  s.hear(Script::assign(kFirst));
  EXPECT_FALSE(s.did<action::FindModel>());
  EXPECT_TRUE(s.sent<message::TaskFailed>());
}

TEST(Session, FailedWorkIsToldWithItsReason) {
  Script s;
  s.go_online();
  s.step(event::WorkFailed{s.start_training(), "1 MB is too little", Refusal::kBudgetTooSmall});
  ASSERT_TRUE(s.sent<message::TaskFailed>());
  EXPECT_EQ(s.sent<message::TaskFailed>()->refusal, Refusal::kBudgetTooSmall);
  ASSERT_TRUE(s.did<action::Log>());
  EXPECT_NE(s.did<action::Log>()->text.find("failed (budget-too-small): 1 MB is too little"), std::string::npos);
}

TEST(Session, ABrokenDownloadAsksForAnotherTicket) {
  Script s;
  s.go_online();
  s.hear(Script::assign(kFirst));
  s.step(event::ModelMissing{s.did<action::FindModel>()->work});
  s.hear(message::ModelTicket{kFirst, {}, {}});
  s.step(event::WorkFailed{s.did<action::DownloadModel>()->work, "stalled"});
  EXPECT_FALSE(s.sent<message::TaskFailed>());
  EXPECT_TRUE(s.tick().sent<message::FetchModel>());
}

TEST(Session, BeatsTwiceInEveryHeartbeatInterval) {
  Script s;
  s.go_online();
  const Time from = s.now();
  int beats = 0;
  while (s.now() < from + 200s) beats += s.tick().sent<message::Heartbeat>() != nullptr;
  EXPECT_EQ(beats, 20);
}

TEST(Session, SpreadsReconnectsOverTheWindow) {
  // 300 devices lose the coordinator at once: their returns fill the window evenly.
  std::vector<int> seconds(5);
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    SessionOptions options;
    options.seed = seed;
    Script s(options);
    s.go_online();
    const Time lost = s.now();
    s.step(event::Disconnected{false, "gone"});
    s.tick();
    const Duration delay = s.now() - lost;
    ASSERT_LT(delay, 5s);
    ++seconds[static_cast<std::size_t>(delay / 1s)];
  }
  for (int count : seconds) EXPECT_GT(count, 35);
}

TEST(Session, BacksOffUpToAMinute) {
  Script s;
  Duration longest{};
  for (int i = 0; i < 200; ++i) {
    s.tick();
    const Time failed = s.now();
    s.step(event::Disconnected{false, "no route"});
    longest = std::max(longest, s.session().next_timer() - failed);
  }
  EXPECT_GT(longest, 50s);
  EXPECT_LE(longest, 60s);
}

TEST(Session, DrainComesBackWithinTheWindowAndKeepsTheWork) {
  Script s;
  s.go_online();
  s.start_training();
  const Time told = s.now();
  s.hear(message::Drain{90s});
  EXPECT_TRUE(s.did<action::Disconnect>());
  EXPECT_EQ(s.session().phase(), Phase::kTraining);
  EXPECT_LT(s.session().next_timer(), told + 90s);
  EXPECT_TRUE(s.tick().did<action::Connect>());
}

TEST(Session, SaysGoodbyeAndEnds) {
  Script s;
  s.go_online();
  s.start_training();
  s.step(event::ShutdownAsked{});
  EXPECT_TRUE(s.sent<message::Goodbye>());
  EXPECT_TRUE(s.did<action::CancelWork>());
  ASSERT_TRUE(s.did<action::Exit>());
  EXPECT_EQ(s.did<action::Exit>()->refusal, Refusal::kNone);
}

TEST(Session, GivesUpASilentCoordinator) {
  Script s;
  s.tick();
  s.step(event::Connected{});
  s.tick();
  EXPECT_TRUE(s.did<action::Disconnect>());
  EXPECT_TRUE(s.tick().did<action::Connect>());
}

}  // namespace
}  // namespace shoal::client
