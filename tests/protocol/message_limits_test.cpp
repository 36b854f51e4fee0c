#include "protocol/message_limits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "protocol/limits.h"
#include "tests/protocol/sample_messages.h"

namespace shoal::protocol {
namespace {

using ::testing::HasSubstr;
using namespace message;

const double kNaN = std::nan("");
const double kInfinity = std::numeric_limits<double>::infinity();

template <class M, class Samples>
M sample(const Samples& samples) {
  for (const auto& [name, message] : samples)
    if (const M* found = std::get_if<M>(&message)) return *found;
  ADD_FAILURE() << "no sample of this kind";
  return {};
}

// One violation: the sample of a kind, spoilt, and the member that must be named.
template <class Message>
struct Violation {
  const char* member;
  std::function<Message()> make;
};

template <class M>
Violation<DeviceMessage> device(const char* member, void (*spoil)(M&)) {
  return {member, [=] {
            M m = sample<M>(sample_device_messages());
            spoil(m);
            return DeviceMessage(m);
          }};
}
template <class M>
Violation<CoordinatorMessage> coordinator(const char* member, void (*spoil)(M&)) {
  return {member, [=] {
            M m = sample<M>(sample_coordinator_messages());
            spoil(m);
            return CoordinatorMessage(m);
          }};
}

template <class Message>
void expect_refused(const std::vector<Violation<Message>>& violations) {
  for (const Violation<Message>& violation : violations) {
    const Status status = check(violation.make());
    ASSERT_FALSE(status.ok()) << violation.member << " was not checked";
    EXPECT_EQ(status.error().code(), ErrorCode::kCorrupt);
    EXPECT_THAT(status.error().to_string(), HasSubstr(violation.member));
  }
}

TEST(MessageLimitsTest, SamplesAndRandomMessagesAreWithinLimits) {
  Stream stream(22, "limits");
  for (const auto& [name, message] : sample_device_messages()) EXPECT_TRUE(check(message).ok()) << name;
  for (const auto& [name, message] : sample_coordinator_messages()) EXPECT_TRUE(check(message).ok()) << name;
  for (int i = 0; i < 1000; ++i) {
    EXPECT_TRUE(check(random_device_message(stream)).ok());
    EXPECT_TRUE(check(random_coordinator_message(stream)).ok());
  }
}

TEST(MessageLimitsTest, EveryMemberOfADevicesMessageIsChecked) {
  expect_refused<DeviceMessage>({
      device<Hello>("oldest", [](Hello& m) { m.oldest = 4, m.newest = 3; }),
      device<Hello>("build", [](Hello& m) { m.build = std::string(kMaxBuildBytes + 1, 'b'); }),
      device<Hello>("build", [](Hello& m) { m.build = "\xC3("; }),
      device<Hello>("train_samples", [](Hello& m) { m.facts.train_samples = kMaxSamples + 1; }),
      device<Hello>("test_samples", [](Hello& m) { m.facts.test_samples = kMaxSamples + 1; }),
      device<Hello>("memory_budget", [](Hello& m) { m.facts.memory_budget = kMaxMemoryBudget + 1; }),
      device<Redeem>("oldest", [](Redeem& m) { m.oldest = 2; }),
      device<Redeem>("name", [](Redeem& m) { m.name = "two\nlines"; }),
      device<Redeem>("name", [](Redeem& m) { m.name = std::string(kMaxNameBytes + 1, 'n'); }),
      device<OfferUpdate>("object.id", [](OfferUpdate& m) { ++m.object.id; }),
      device<OfferUpdate>("object.bytes", [](OfferUpdate& m) { m.object.bytes = 0; }),
      device<OfferUpdate>("object.bytes", [](OfferUpdate& m) { m.object.bytes = kMaxObjectBytes + 1; }),
      device<OfferUpdate>("object.suite", [](OfferUpdate& m) { m.object.suite = CipherSuite{0}; }),
      device<OfferUpdate>("object.suite", [](OfferUpdate& m) { m.object.suite = CipherSuite{3}; }),
      device<OfferUpdate>("facts.bytes", [](OfferUpdate& m) { m.facts.bytes = kMaxObjectBytes + 1; }),
      device<OfferUpdate>("facts.samples", [](OfferUpdate& m) { m.facts.samples = kMaxSamples + 1; }),
      device<OfferUpdate>("facts.steps", [](OfferUpdate& m) { m.facts.steps = kMaxSteps + 1; }),
      device<OfferUpdate>("facts.loss", [](OfferUpdate& m) { m.facts.loss = kNaN; }),
      device<OfferUpdate>("facts.loss", [](OfferUpdate& m) { m.facts.loss = -kInfinity; }),
      device<OfferUpdate>("facts.norm", [](OfferUpdate& m) { m.facts.norm = -1; }),
      device<OfferUpdate>("facts.norm", [](OfferUpdate& m) { m.facts.norm = kNaN; }),
      device<OfferUpdate>("facts.trained", [](OfferUpdate& m) { m.facts.trained = Duration(-1); }),
      device<EvaluationDone>("samples", [](EvaluationDone& m) { m.facts.samples = kMaxSamples + 1; }),
      device<EvaluationDone>("correct", [](EvaluationDone& m) { m.facts.correct = m.facts.samples + 1; }),
      device<EvaluationDone>("loss_sum", [](EvaluationDone& m) { m.facts.loss_sum = kInfinity; }),
      device<TaskFailed>("reason", [](TaskFailed& m) { m.reason = std::string(kMaxReasonBytes + 1, 'r'); }),
      device<TaskFailed>("reason", [](TaskFailed& m) { m.reason = std::string("a\0b", 3); }),
      device<TaskFailed>("refusal", [](TaskFailed& m) { m.refusal = Refusal::kNone; }),
      device<TaskFailed>("refusal", [](TaskFailed& m) { m.refusal = Refusal::kRevoked; }),
      device<TaskFailed>("refusal", [](TaskFailed& m) { m.refusal = Refusal{199}; }),
  });
}

TEST(MessageLimitsTest, EveryMemberOfTheCoordinatorsMessageIsChecked) {
  expect_refused<CoordinatorMessage>({
      coordinator<Welcome>("heartbeat", [](Welcome& m) { m.heartbeat = Duration(-1); }),
      coordinator<Welcome>("reconnect_window", [](Welcome& m) { m.reconnect_window = Duration::max(); }),
      coordinator<Refused>("refusal", [](Refused& m) { m.refusal = Refusal{199}; }),
      coordinator<Refused>("detail", [](Refused& m) { m.detail = std::string(kMaxReasonBytes + 1, 'd'); }),
      coordinator<Refused>("retry_after", [](Refused& m) { m.retry_after = kMaxDuration + Duration(1); }),
      coordinator<Assign>("kind", [](Assign& m) { m.assignment.kind = TaskKind{2}; }),
      coordinator<Assign>("lease", [](Assign& m) { m.assignment.lease = Duration(-1); }),
      coordinator<Assign>("bound", [](Assign& m) { m.assignment.bound = kNaN; }),
      coordinator<Assign>("bound", [](Assign& m) { m.assignment.bound = 2 * kMaxUpdateBound; }),
      coordinator<Assign>("max_samples", [](Assign& m) { m.assignment.max_samples = kMaxSamples + 1; }),
      coordinator<Assign>("training.epochs", [](Assign& m) { m.assignment.training.epochs = 0; }),
      coordinator<Assign>("model_bytes", [](Assign& m) { m.model_bytes = 0; }),
      coordinator<Assign>("model_bytes", [](Assign& m) { m.model_bytes = kMaxObjectBytes + 1; }),
      coordinator<ModelTicket>("endpoint", [](ModelTicket& m) { m.ticket.endpoint = "fleet.example"; }),
      coordinator<ModelTicket>("ticket.user",
                               [](ModelTicket& m) { m.ticket.user = std::string(kMaxTicketBytes + 1, 'u'); }),
      coordinator<ModelTicket>("ticket.secret", [](ModelTicket& m) { m.ticket.secret = "\xFF"; }),
      coordinator<ModelTicket>("object.bytes", [](ModelTicket& m) { m.object.bytes = 0; }),
      coordinator<UploadTicket>("endpoint", [](UploadTicket& m) { m.ticket.endpoint = ""; }),
      coordinator<UploadTicket>("first_chunk", [](UploadTicket& m) { m.first_chunk = kMaxChunks + 1; }),
      coordinator<Revoke>("refusal", [](Revoke& m) { m.refusal = Refusal{10}; }),
      coordinator<PassedOver>("refusal", [](PassedOver& m) { m.refusal = Refusal{10}; }),
      coordinator<PassedOver>("detail", [](PassedOver& m) { m.detail = std::string(kMaxReasonBytes + 1, 'd'); }),
      coordinator<Drain>("reconnect_window", [](Drain& m) { m.reconnect_window = Duration(-1); }),
  });
}

TEST(MessageLimitsTest, TrainingIsHeldToTheRangesOfItsOptions) {
  EXPECT_TRUE(check(TrainingSpec{}).ok());
  const std::pair<const char*, std::function<void(TrainingSpec&)>> violations[] = {
      {"batch_size", [](TrainingSpec& t) { t.batch_size = 0; }},
      {"learning_rate", [](TrainingSpec& t) { t.learning_rate = kNaN; }},
      {"learning_rate", [](TrainingSpec& t) { t.learning_rate = -0.1; }},
      {"momentum", [](TrainingSpec& t) { t.momentum = 1; }},
      {"weight_decay", [](TrainingSpec& t) { t.weight_decay = kInfinity; }},
      {"proximal", [](TrainingSpec& t) { t.proximal = -1; }},
      {"optimizer", [](TrainingSpec& t) { t.optimizer = static_cast<LocalOptimizerKind>(2); }},
      {"plan", [](TrainingSpec& t) { t.plan = std::string(kMaxPlanBytes + 1, 'p'); }},
      {"plan", [](TrainingSpec& t) { t.plan = "full\n"; }},
  };
  for (const auto& [option, spoil] : violations) {
    TrainingSpec training;
    spoil(training);
    const Status status = check(training);
    ASSERT_FALSE(status.ok()) << option;
    EXPECT_EQ(status.error().code(), ErrorCode::kInvalid);
    EXPECT_THAT(status.error().message(), HasSubstr(option));
  }
}

TEST(MessageLimitsTest, EndpointsAreTcpWithHostAndPort) {
  for (const char* good :
       {"tcp://127.0.0.1:7700", "tcp://fleet-1.example_net:1", "tcp://[::1]:65535", "tcp://[fe80::1%eth0]:7700"})
    EXPECT_TRUE(check_endpoint(good).ok()) << good;
  const std::string long_host = "tcp://" + std::string(kMaxHostBytes + 1, 'h') + ":7700";
  for (const char* bad : {"", "tcp://", "udp://a:1", "tcp://a", "tcp://:7700", "tcp://a:", "tcp://a:0", "tcp://a:65536",
                          "tcp://a:7700 ", "tcp://a:+1", "tcp://a b:1", "tcp://a;b:1", "tcp://::1:7700",
                          "tcp://[]:7700", "tcp://a\n:1", long_host.c_str()}) {
    const Status status = check_endpoint(bad);
    ASSERT_FALSE(status.ok()) << bad;
    EXPECT_THAT(status.error().message(), HasSubstr("write tcp://HOST:PORT"));
  }
}

TEST(MessageLimitsTest, WhatASenderCannotForeseeIsMadeToFit) {
  DeviceMessage offer = sample<OfferUpdate>(sample_device_messages());
  std::get<OfferUpdate>(offer).facts.loss = kNaN;
  std::get<OfferUpdate>(offer).facts.norm = kInfinity;
  std::get<OfferUpdate>(offer).facts.trained = Duration(-5);
  fit(offer);
  EXPECT_TRUE(check(offer).ok());
  EXPECT_EQ(std::get<OfferUpdate>(offer).facts.loss, kMaxLoss);
  EXPECT_EQ(std::get<OfferUpdate>(offer).facts.norm, kMaxNorm);
  EXPECT_EQ(std::get<OfferUpdate>(offer).facts.trained, Duration::zero());

  CoordinatorMessage welcome = Welcome{1, {5}, Duration::max(), Duration::min()};
  fit(welcome);
  EXPECT_EQ(std::get<Welcome>(welcome).heartbeat, kMaxDuration);
  EXPECT_EQ(std::get<Welcome>(welcome).reconnect_window, Duration::zero());
}

TEST(MessageLimitsTest, FittingLeavesAMessageWithinLimitsAlone) {
  Stream stream(23, "fit");
  for (int i = 0; i < 1000; ++i) {
    const DeviceMessage message = random_device_message(stream);
    DeviceMessage fitted = message;
    fit(fitted);
    ASSERT_EQ(fitted, message);
  }
}

TEST(OneLineTest, KeepsValidTextAndReplacesTheRest) {
  EXPECT_EQ(one_line("plain, é, 魚, \xF0\x9F\x90\x9F", 100), "plain, é, 魚, \xF0\x9F\x90\x9F");
  EXPECT_EQ(one_line("a\nb\tc\x7F", 100), "a b c ");
  EXPECT_EQ(one_line("\xC2\x85", 100), " ");             // a C1 control
  EXPECT_EQ(one_line("a\xFFz", 100), "a?z");             // never in UTF-8
  EXPECT_EQ(one_line("\xC0\x80", 100), "??");            // overlong NUL
  EXPECT_EQ(one_line("\xE0\x80\x80", 100), "???");       // overlong
  EXPECT_EQ(one_line("\xED\xA0\x80", 100), "???");       // surrogate
  EXPECT_EQ(one_line("\xF4\x90\x80\x80", 100), "????");  // beyond Unicode
  EXPECT_EQ(one_line("\xE2\x82", 100), "??");            // cut short
}

TEST(OneLineTest, CutsBetweenCharacters) {
  EXPECT_EQ(one_line("abc", 2), "ab");
  EXPECT_EQ(one_line("aé", 2), "a");
  EXPECT_EQ(one_line("aé", 3), "aé");
  EXPECT_EQ(one_line("魚", 0), "");
}

}  // namespace
}  // namespace shoal::protocol
