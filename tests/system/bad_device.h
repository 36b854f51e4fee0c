// One coordinator, one good device and one that misbehaves; whatever the bad one does, the good one's round must go
// through.
#pragma once

#include <gtest/gtest.h>

#include "tests/support/service_host.h"

namespace shoal::testing {

namespace message = protocol::message;
using protocol::Refusal;

class BadDevice : public ::testing::Test {
 protected:
  static constexpr std::uint64_t kFloats = 150'000;  // three chunks

  // A round needs half of its cohort of two: one good device is enough once the bad one is out.
  static coordinator::JobSpec spec() {
    coordinator::JobSpec spec;
    spec.name = "bad-input";
    spec.rounds = 1000;
    spec.fedavg.cohort = 2;
    spec.fedavg.deadline = std::chrono::hours(1);
    spec.limits.max_samples = 100;
    spec.limits.update_bound = 2;
    return spec;
  }

  void SetUp() override { begin(spec()); }

  // Both devices come and are given work.
  void begin(const coordinator::JobSpec& spec) {
    good.join();
    bad.join();
    job = host.submit(spec, kFloats);
    bads = bad.expect<message::Assign>().assignment.id;
    goods = good.expect<message::Assign>().assignment.id;
  }

  // The good device's work is received; whether the round is closed by it depends on the bad one.
  void good_delivers() {
    ScriptedUpdate update = ScriptedUpdate::of(goods, kFloats, 0.5f);
    ASSERT_TRUE(good.upload(update).ok());
    EXPECT_EQ(good.expect<message::Receipt>().assignment, goods);
  }
  // ... and the bad one is out of the round, so that it closes; and the next one begins for both.
  void expect_good_round() {
    good_delivers();
    host.await_version(job, 1);
    EXPECT_EQ(host.job(job).status, coordinator::JobStatus::kRunning);
    EXPECT_EQ(host.job(job).updates, 1u);
    good.expect<message::Assign>();
  }
  // The bad device is still taken for a good one, when it becomes one.
  void expect_both_rounds() {
    ScriptedUpdate update = ScriptedUpdate::of(bads, kFloats, 0.25f);
    ASSERT_TRUE(bad.upload(update).ok());
    EXPECT_EQ(bad.expect<message::Receipt>().assignment, bads);
    good_delivers();
    host.await_version(job, 1);
    EXPECT_EQ(host.job(job).updates, 2u);
  }
  // An update of the bad device that is refused after its upload or before.
  void expect_update_refused(ScriptedUpdate update, Refusal refusal) {
    bad.send(update.offer);
    auto answer = bad.hear();
    ASSERT_TRUE(answer);
    if (const auto* ticket = std::get_if<message::UploadTicket>(&*answer)) {
      (void)bad.send_chunks(*ticket, update);  // may be cut short
      answer = bad.hear();
      ASSERT_TRUE(answer);
    }
    const auto* refused = std::get_if<message::Refused>(&*answer);
    ASSERT_NE(refused, nullptr) << ScriptedDevice::describe(*answer);
    EXPECT_EQ(refused->refusal, refusal) << ScriptedDevice::describe(*answer);
    EXPECT_EQ(refused->assignment, bads);
    EXPECT_GE(host.refusals(refusal), 1) << "not counted";
    expect_good_round();
  }

  ServiceHost host;
  ScriptedDevice good = host.enrol(), bad = host.enrol();
  JobId job;
  AssignmentId goods, bads;
};

}  // namespace shoal::testing
