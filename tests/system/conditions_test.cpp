// What happens around the service: a disk that fills up and recovers, writes that fail, a wall clock that jumps.
#include "protocol/keys.h"
#include "tests/system/bad_device.h"

namespace shoal::testing {
namespace {

using coordinator::StoreOperation;
using Conditions = BadDevice;

constexpr std::int64_t kTenYears = std::int64_t{3650} * 86400;

TEST_F(Conditions, AFullDiskStopsWorkAndGoesOnByItself) {
  host.free_disk_bytes = 1;
  host.await("the full disk", [](coordinator::Service& s) { return s.state().storage_full; });
  ScriptedUpdate update = ScriptedUpdate::of(bads, kFloats, 0.25f);
  bad.send(update.offer);
  const auto refused = bad.expect<message::Refused>();
  EXPECT_EQ(refused.refusal, Refusal::kStorageFull);
  EXPECT_GT(refused.retry_after, Duration::zero());
  host.free_disk_bytes = std::uint64_t{1} << 40;
  host.await("room", [](coordinator::Service& s) { return !s.state().storage_full; });
  expect_both_rounds();
}

// Every operation that can find the disk full, one after the other. Nobody loses anything but time.
class DiskFull : public BadDevice, public ::testing::WithParamInterface<StoreOperation> {};

TEST_P(DiskFull, CostsTimeAndNothingElse) {
  host.fail(GetParam(), ErrorCode::kExhausted);
  ScriptedUpdate update = ScriptedUpdate::of(bads, kFloats, 0.25f);
  const auto answered = [&](Duration limit) {  // with a receipt; refusals of the moment are expected
    while (auto heard = bad.hear(limit)) {
      if (std::holds_alternative<message::Receipt>(*heard)) return true;
      if (const auto* ticket = std::get_if<message::UploadTicket>(&*heard)) (void)bad.send_chunks(*ticket, update);
      if (const auto* refused = std::get_if<message::Refused>(&*heard)) {
        EXPECT_GT(refused->retry_after, Duration::zero());
        return false;
      }
    }
    return false;
  };
  bad.send(update.offer);
  const bool early = answered(std::chrono::milliseconds(500));
  const bool on_the_way = GetParam() == StoreOperation::kAppend || GetParam() == StoreOperation::kBodyOpen ||
                          GetParam() == StoreOperation::kBodyWrite || GetParam() == StoreOperation::kBodySync;
  EXPECT_EQ(early, !on_the_way) << "a receipt before the update was durable, or none without need";
  if (!early && GetParam() == StoreOperation::kAppend) {
    bad.send(update.offer);  // again, while its event is not written
    EXPECT_FALSE(answered(std::chrono::milliseconds(300))) << "a receipt before its event was durable";
  }
  host.recover();
  host.await("room", [](coordinator::Service& s) { return !s.state().storage_full; });
  if (!early) {
    bad.send(update.offer);
    EXPECT_TRUE(answered(std::chrono::seconds(20)));
  }
  good_delivers();
  host.await_version(job, 1);
  EXPECT_EQ(host.job(job).updates, 2u);
}

INSTANTIATE_TEST_SUITE_P(Conditions, DiskFull,
                         ::testing::Values(StoreOperation::kAppend, StoreOperation::kBodyOpen,
                                           StoreOperation::kBodyWrite, StoreOperation::kBodySync),
                         [](const auto& param) {
                           switch (param.param) {
                             case StoreOperation::kAppend: return "AtTheJournal";
                             case StoreOperation::kBodyOpen: return "AtTheReservation";
                             case StoreOperation::kBodyWrite: return "AtAChunk";
                             default: return "AtTheSync";
                           }
                         });

// The fold and its commit happen after both receipts, so they only wait.
class FoldOnAFullDisk : public BadDevice, public ::testing::WithParamInterface<StoreOperation> {};

TEST_P(FoldOnAFullDisk, WaitsForRoom) {
  host.fail(GetParam(), ErrorCode::kExhausted);
  ScriptedUpdate update = ScriptedUpdate::of(bads, kFloats, 0.25f);
  ASSERT_TRUE(bad.upload(update).ok());
  bad.expect<message::Receipt>();
  good_delivers();
  host.await("a fold that finds the disk full", [&](coordinator::Service&) { return host.failures() > 0; });
  EXPECT_EQ(host.job(job).status, coordinator::JobStatus::kRunning);
  const auto durable = [&](coordinator::Service&) { return host.store.journal.recover().value().models.size(); };
  EXPECT_EQ(host.ask(durable), 1u) << "more than version 0";
  host.recover();
  host.await_version(job, 1);
  host.await("room", [](coordinator::Service& s) { return !s.state().storage_full; });
  EXPECT_EQ(host.job(job).updates, 2u);
  good.expect<message::Assign>();
}

INSTANTIATE_TEST_SUITE_P(Conditions, FoldOnAFullDisk,
                         ::testing::Values(StoreOperation::kModelWrite, StoreOperation::kModelFinish,
                                           StoreOperation::kCommit),
                         [](const auto& param) {
                           switch (param.param) {
                             case StoreOperation::kModelWrite: return "AtTheModel";
                             case StoreOperation::kModelFinish: return "AtItsEnd";
                             default: return "AtTheCommit";
                           }
                         });

// A full disk ends the first job's fold while the second's is under way: the first must not wait for ever.
TEST(TwoJobs, AFoldThatFoundTheDiskFullGoesOnWhateverOthersFold) {
  constexpr std::uint64_t kFloats = 100;
  ServiceHost host;
  coordinator::JobSpec spec;
  spec.rounds = 1;
  spec.fedavg.cohort = 1;
  spec.limits.update_bound = 2;
  struct Member {
    ScriptedDevice device;
    JobId job;
    AssignmentId work;
  } members[] = {{host.enrol(), {}, {}}, {host.enrol(), {}, {}}};
  for (Member& member : members) {
    member.device.join();
    member.job = host.submit(spec, kFloats);
    member.work = member.device.expect<message::Assign>().assignment.id;
  }
  std::promise<void> first_may_fail, second_may_end;
  std::atomic<int> folds = 0;
  host.set_fault([&](StoreOperation operation) -> Status {
    if (operation != StoreOperation::kModelFinish) return {};
    const int fold = ++folds;
    if (fold == 1) first_may_fail.get_future().wait();
    if (fold == 2) second_may_end.get_future().wait();
    return fold == 1 ? Status(Error(ErrorCode::kExhausted, "as the test wants it")) : Status();
  });
  for (Member& member : members) {
    ScriptedUpdate update = ScriptedUpdate::of(member.work, kFloats, 0.5f);
    ASSERT_TRUE(member.device.upload(update).ok());
    member.device.expect<message::Receipt>();
  }
  host.await("both folds", [](coordinator::Service& s) { return s.machine().open_folds().size() == 2; });
  first_may_fail.set_value();
  host.await("the full disk", [](coordinator::Service& s) { return s.state().storage_full; });
  host.await("room", [](coordinator::Service& s) { return !s.state().storage_full; });
  second_may_end.set_value();
  for (const Member& member : members) host.await_version(member.job, 1);
}

TEST_F(Conditions, AFoldThatFailsForOnceIsTriedAgain) {
  host.fail(StoreOperation::kModelWrite, ErrorCode::kFailed);
  ScriptedUpdate update = ScriptedUpdate::of(bads, kFloats, 0.25f);
  ASSERT_TRUE(bad.upload(update).ok());
  bad.expect<message::Receipt>();
  good_delivers();
  host.await("a fold that fails", [&](coordinator::Service&) { return host.failures() > 0; });
  host.recover();
  host.await_version(job, 1);
  EXPECT_EQ(host.job(job).status, coordinator::JobStatus::kRunning);
  EXPECT_EQ(host.job(job).updates, 2u);
}

TEST_F(Conditions, AFoldOfWhatIsCorruptFailsTheJobAtOnce) {
  host.fail(StoreOperation::kModelWrite, ErrorCode::kCorrupt);
  ScriptedUpdate update = ScriptedUpdate::of(bads, kFloats, 0.25f);
  ASSERT_TRUE(bad.upload(update).ok());
  bad.expect<message::Receipt>();
  good_delivers();
  const auto ended = [&](coordinator::Service& s) {
    return s.machine().job(job)->status == coordinator::JobStatus::kFailed;
  };
  host.await("the job's end", ended);
  EXPECT_EQ(host.failures(), 1);
}

TEST_F(Conditions, AWriteErrorOfOneUploadIsTriedAgain) {
  host.fail(StoreOperation::kBodyWrite, ErrorCode::kFailed);
  ScriptedUpdate update = ScriptedUpdate::of(bads, kFloats, 0.25f);
  (void)bad.upload(update);
  const auto refused = bad.expect<message::Refused>();
  EXPECT_EQ(refused.refusal, Refusal::kBusy);
  EXPECT_GT(refused.retry_after, Duration::zero());
  host.recover();
  expect_both_rounds();
}

TEST_F(Conditions, AClockThatJumpsMovesNoDeadlineAndNoRound) {
  const std::int64_t now = host.unix_seconds;
  const protocol::KeyPair invitation = host.invite(now + 60);
  for (const std::int64_t jumped : {now + kTenYears, now - kTenYears, std::int64_t{0}, now}) {
    host.unix_seconds = jumped;
    host.ask([](coordinator::Service& s) { return s.machine().online_devices(); });
    EXPECT_EQ(host.job(job).outstanding, 2u) << "an assignment ended when the clock jumped";
  }
  // Invitations do follow the clock; those that have not expired by it are good.
  ScriptedDevice guest = host.stranger(invitation);
  message::Redeem redeem;
  redeem.name = "guest";
  redeem.device_key = protocol::make_key_pair().value().public_key;
  guest.connect();
  host.unix_seconds = now + kTenYears;
  guest.send(redeem);
  EXPECT_EQ(guest.expect_refusal(), Refusal::kInvitationExpired);
  host.unix_seconds = now - kTenYears;
  guest.send(redeem);
  EXPECT_EQ(guest.expect<message::Redeemed>().device, DeviceId{3});
  expect_both_rounds();
}

TEST_F(Conditions, ALostDeviceKeepsItsWorkAndTheOtherItsSession) {
  bad.hang_up();
  good_delivers();
  bad.join();
  EXPECT_EQ(bad.expect<message::Assign>().assignment.id, bads);
  ScriptedUpdate update = ScriptedUpdate::of(bads, kFloats, 0.25f);
  ASSERT_TRUE(bad.upload(update).ok());
  bad.expect<message::Receipt>();
  host.await_version(job, 1);
  EXPECT_EQ(host.job(job).updates, 2u);
}

}  // namespace
}  // namespace shoal::testing
