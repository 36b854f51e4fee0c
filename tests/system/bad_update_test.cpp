// Updates that are not what they should be, over real sockets: each gets its own refusal and costs nobody else
// anything.
#include <cmath>
#include <cstring>
#include <limits>

#include "tests/system/bad_device.h"

namespace shoal::testing {
namespace {

using BadUpdate = BadDevice;

// All zeros but for one value, in the last chunk.
ScriptedUpdate with_value(AssignmentId id, std::uint64_t floats, float value) {
  const std::uint64_t bytes = floats * sizeof(float);
  return ScriptedUpdate(
      id, bytes, [value, last = (bytes - 1) / protocol::kChunkBytes](std::uint32_t chunk, std::span<std::byte> plain) {
        if (chunk == last) std::memcpy(plain.data() + plain.size() - sizeof value, &value, sizeof value);
      });
}

TEST_F(BadUpdate, ValuesThatAreNotFinite) {
  expect_update_refused(with_value(bads, kFloats, std::nanf("")), Refusal::kNotFinite);
}
TEST_F(BadUpdate, InfiniteValues) {
  expect_update_refused(with_value(bads, kFloats, -std::numeric_limits<float>::infinity()), Refusal::kNotFinite);
}
TEST_F(BadUpdate, ValuesOutOfTheBound) {
  expect_update_refused(with_value(bads, kFloats, std::nextafterf(2.0f, 3.0f)), Refusal::kOutOfBound);
}
TEST_F(BadUpdate, TooManyValues) {
  expect_update_refused(ScriptedUpdate::of(bads, kFloats + 1, 0.5f), Refusal::kTooLarge);
}
TEST_F(BadUpdate, TooFewValues) {
  expect_update_refused(ScriptedUpdate::of(bads, kFloats - 1, 0.5f), Refusal::kWrongShape);
}
TEST_F(BadUpdate, FactsThatNameAnotherSizeThanTheObject) {
  ScriptedUpdate update = ScriptedUpdate::of(bads, kFloats, 0.5f);
  update.offer.facts.bytes -= sizeof(float);
  expect_update_refused(std::move(update), Refusal::kWrongShape);
}
TEST_F(BadUpdate, NoSamples) {
  ScriptedUpdate update = ScriptedUpdate::of(bads, kFloats, 0.5f);
  update.offer.facts.samples = 0;
  expect_update_refused(std::move(update), Refusal::kSampleCount);
}
TEST_F(BadUpdate, MoreSamplesThanTheJobBelieves) {
  ScriptedUpdate update = ScriptedUpdate::of(bads, kFloats, 0.5f);
  update.offer.facts.samples = 101;
  expect_update_refused(std::move(update), Refusal::kSampleCount);
}
TEST_F(BadUpdate, MoreStepsThanWereAskedFor) {
  ScriptedUpdate update = ScriptedUpdate::of(bads, kFloats, 0.5f);
  update.offer.facts.steps = 1'000'000;
  expect_update_refused(std::move(update), Refusal::kMalformed);
}
TEST_F(BadUpdate, AChunkThatNeverOpensIsTriedAgainTwice) {
  ScriptedUpdate update = ScriptedUpdate::of(bads, kFloats, 0.5f);
  update.corrupt(1);
  for (int i = 0; i < 2; ++i) {
    (void)bad.upload(update);
    const auto refused = bad.expect<message::Refused>();
    EXPECT_EQ(refused.refusal, Refusal::kUnsealable);
    EXPECT_GT(refused.retry_after, Duration::zero());
  }
  expect_update_refused(std::move(update), Refusal::kUnsealable);
}
TEST_F(BadUpdate, AChunkThatWasDamagedOnTheWayIsAllThatComesAgain) {
  ScriptedUpdate update = ScriptedUpdate::of(bads, kFloats, 0.5f);
  update.corrupt(1);
  (void)bad.upload(update);
  EXPECT_EQ(bad.expect_refusal(), Refusal::kUnsealable);
  ScriptedUpdate whole = std::move(update);
  whole.corrupt(99);
  bad.send(whole.offer);
  const auto ticket = bad.expect<message::UploadTicket>();
  EXPECT_EQ(ticket.first_chunk, 1u);
  ASSERT_TRUE(bad.send_chunks(ticket, whole).ok());
  EXPECT_EQ(bad.expect<message::Receipt>().assignment, bads);
  good_delivers();
  host.await_version(job, 1);
}
TEST_F(BadUpdate, ContentsThatAreNotWhatTheDigestSaid) {
  ScriptedUpdate update = ScriptedUpdate::of(bads, kFloats, 0.5f);
  update.offer.facts.digest.bytes[31] ^= 1;
  expect_update_refused(std::move(update), Refusal::kConflict);
}

TEST_F(BadUpdate, TheSameUpdateAgainGetsTheSameReceiptAndCountsOnce) {
  ScriptedUpdate update = ScriptedUpdate::of(bads, kFloats, 0.25f);
  ASSERT_TRUE(bad.upload(update).ok());
  EXPECT_EQ(bad.expect<message::Receipt>().assignment, bads);
  for (int i = 0; i < 3; ++i) {
    bad.send(update.offer);
    EXPECT_EQ(bad.expect<message::Receipt>().assignment, bads);
  }
  good_delivers();
  host.await_version(job, 1);
  EXPECT_EQ(host.job(job).updates, 2u);
}

TEST_F(BadUpdate, AnotherUpdateForTheSameAssignmentIsAConflictAndLeavesTheFirst) {
  ScriptedUpdate first = ScriptedUpdate::of(bads, kFloats, 0.25f), second = ScriptedUpdate::of(bads, kFloats, 1.0f);
  ASSERT_TRUE(bad.upload(first).ok());
  bad.expect<message::Receipt>();
  bad.send(second.offer);
  EXPECT_EQ(bad.expect_refusal(), Refusal::kConflict);
  bad.send(first.offer);
  EXPECT_EQ(bad.expect<message::Receipt>().assignment, bads);
  good_delivers();
  host.await_version(job, 1);
  EXPECT_EQ(host.job(job).updates, 2u);
}

// Between the last chunk and its sync, the first update is neither received nor gone.
TEST_F(BadUpdate, AnotherUpdateWhileTheFirstIsBeingSyncedDoesNotTakeItsPlace) {
  struct Gate {
    std::promise<void> reached, opened;
    std::atomic<bool> passed = false;
  };
  const auto gate = std::make_shared<Gate>();
  host.set_fault([gate](coordinator::StoreOperation operation) -> Status {
    if (operation == coordinator::StoreOperation::kBodySync && !gate->passed.exchange(true)) {
      gate->reached.set_value();
      gate->opened.get_future().wait();
    }
    return {};
  });
  ScriptedUpdate first = ScriptedUpdate::of(bads, kFloats, 0.25f), second = ScriptedUpdate::of(bads, kFloats, 1.0f);
  ASSERT_TRUE(bad.upload(first).ok());
  gate->reached.get_future().wait();
  bad.send(second.offer);
  bad.send(message::FetchModel{bads});  // answered after the offer was looked at
  auto answer = bad.hear();
  EXPECT_TRUE(answer && std::holds_alternative<message::ModelTicket>(*answer)) << "the second one was let in";
  gate->opened.set_value();
  EXPECT_EQ(bad.expect<message::Receipt>().assignment, bads);
  good_delivers();
  host.await("the end of the fold", [&](coordinator::Service& s) {
    return s.machine().job(job)->version == 1 || s.machine().job(job)->status != coordinator::JobStatus::kRunning;
  });
  EXPECT_EQ(host.job(job).status, coordinator::JobStatus::kRunning) << host.job(job).reason;
  EXPECT_EQ(host.job(job).updates, 2u);
}

TEST_F(BadUpdate, AnotherDevicesAssignmentIsNotItsToAnswer) {
  ScriptedUpdate stolen = ScriptedUpdate::of(goods, kFloats, 1.0f);
  bad.send(stolen.offer);
  EXPECT_EQ(bad.expect_refusal(), Refusal::kReplayed);
  ScriptedUpdate invented = ScriptedUpdate::of(AssignmentId{9999}, kFloats, 1.0f);
  bad.send(invented.offer);
  EXPECT_EQ(bad.expect_refusal(), Refusal::kReplayed);
  expect_both_rounds();
}

TEST_F(BadUpdate, AClosedRoundIsLate) {
  coordinator::JobSpec first_come = spec();
  first_come.fedavg.cohort = 1;
  first_come.fedavg.over_selection = 2;
  bad.send(message::TaskFailed{bads, "for another job"});
  EXPECT_EQ(bad.expect_refusal(), Refusal::kTaskFailed);
  good.send(message::TaskFailed{goods, "for another job"});
  EXPECT_EQ(good.expect_refusal(), Refusal::kTaskFailed);
  host.ask([&](coordinator::Service& s) { return s.stop_job(job); }).value();
  // The first job may have opened a round again before it was stopped.
  job = host.submit(first_come, kFloats);
  const auto last_assignment = [&](ScriptedDevice& device) {
    AssignmentId id;
    while (true) {
      auto heard = device.hear();
      if (const auto* assign = heard ? std::get_if<message::Assign>(&*heard) : nullptr;
          assign && assign->assignment.job == job)
        return assign->assignment.id;
      if (!heard) return id;
    }
  };
  goods = last_assignment(good);
  bads = last_assignment(bad);
  ASSERT_TRUE(goods && bads);
  good_delivers();
  const auto revoked = bad.expect<message::Revoke>();
  EXPECT_EQ(revoked.assignment, bads);
  EXPECT_EQ(revoked.refusal, Refusal::kLate);
  ScriptedUpdate late = ScriptedUpdate::of(bads, kFloats, 1.0f);
  bad.send(late.offer);
  auto answer = bad.hear();
  while (answer && std::holds_alternative<message::Assign>(*answer)) answer = bad.hear();  // of the next round
  const auto* refused = answer ? std::get_if<message::Refused>(&*answer) : nullptr;
  ASSERT_NE(refused, nullptr);
  EXPECT_EQ(refused->refusal, Refusal::kLate);
  host.await_version(job, 1);
}

}  // namespace
}  // namespace shoal::testing
