// A session with a clock, scripted by a test: what it is told, and what it did last.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "client/session.h"

namespace shoal::client {

using protocol::Refusal;
using protocol::TaskKind;
namespace message = protocol::message;
using namespace std::chrono_literals;

inline constexpr AssignmentId kFirst{7}, kSecond{8};

class Script {
 public:
  explicit Script(SessionOptions options = {}) : session_(std::move(options), now_) {}

  Script& step(SessionEvent event) {
    done_ = session_.step(event, now_);
    return *this;
  }
  Script& hear(protocol::CoordinatorMessage m) { return step(event::Received{std::move(m)}); }
  // On to the next timer, and its tick.
  Script& tick() {
    EXPECT_NE(session_.next_timer(), kNever);
    now_ = std::max(now_, session_.next_timer());
    return step(event::Tick{});
  }
  Script& pass(Duration d) {
    now_ += d;
    return *this;
  }

  // The last step's one action of this kind.
  template <class Action>
  const Action* did() const {
    const Action* found = nullptr;
    for (const SessionAction& a : done_)
      if (const auto* one = std::get_if<Action>(&a)) {
        EXPECT_EQ(found, nullptr) << "done twice in one step";
        found = one;
      }
    return found;
  }
  template <class Message>
  const Message* sent() const {
    for (const SessionAction& a : done_)
      if (const auto* send = std::get_if<action::Send>(&a))
        if (const auto* m = std::get_if<Message>(&send->message)) return m;
    return nullptr;
  }
  bool logged(std::string_view part) const {
    return std::ranges::any_of(done_, [&](const SessionAction& a) {
      const auto* log = std::get_if<action::Log>(&a);
      return log && log->text.find(part) != std::string::npos;
    });
  }

  Script& go_online() {
    tick();
    EXPECT_TRUE(did<action::Connect>());
    step(event::Connected{});
    return hear(welcome());
  }
  static message::Welcome welcome() {
    message::Welcome w;
    w.device = DeviceId{3};
    w.heartbeat = 20s;
    w.reconnect_window = 5s;
    return w;
  }
  static message::Assign assign(AssignmentId id, TaskKind kind = TaskKind::kTrain) {
    message::Assign a;
    a.assignment.id = id;
    a.assignment.job = JobId{1};
    a.assignment.kind = kind;
    a.assignment.lease = 10min;
    a.model.bytes[0] = 42;
    return a;
  }

  // From an assignment with a cached model to training.
  WorkId start_training(AssignmentId id = kFirst) {
    hear(assign(id));
    EXPECT_TRUE(did<action::FindModel>());
    step(event::ModelReady{did<action::FindModel>()->work});
    EXPECT_TRUE(did<action::Train>());
    return did<action::Train>()->work;
  }
  // ... to an update that is sealed and offered.
  Script& offer(AssignmentId id = kFirst) {
    protocol::UpdateFacts facts;
    facts.samples = 10;
    step(event::TrainingFinished{start_training(id), facts});
    const auto* seal = did<action::Seal>();
    EXPECT_TRUE(seal);
    return step(event::UpdateSealed{seal->work, facts, {id.value, 100, protocol::CipherSuite::kAes256Gcm, {}}});
  }

  Session& session() { return session_; }
  Time now() const { return now_; }

 private:
  Time now_{};
  Session session_;
  SessionActions done_;
};

inline message::Refused refused(Refusal refusal, AssignmentId id = {}, Duration retry = {}) {
  return {refusal, id, "detail", retry};
}
}  // namespace shoal::client
