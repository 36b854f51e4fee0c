// The link half of the session: connecting, greeting, heartbeats, back-off and the reasons to stop.
#include "client/session.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/units.h"

namespace shoal::client {

using protocol::Refusal;
namespace message = protocol::message;
using namespace std::chrono_literals;

namespace {

// The channel ends its own attempts earlier; this is for one that does not.
constexpr Duration kConnectPatience = 30s;
// The least time that an answer is waited for.
constexpr Duration kPatience = 10s;
constexpr Duration kFirstBackoff = 500ms;
constexpr Duration kLongestBackoff = 60s;
// Used where the coordinator names no time.
constexpr Duration kDefaultHeartbeat = 30s;
constexpr Duration kApprovalPoll = 30s;

// Refusals of the whole session that no waiting can change.
bool is_final(Refusal refusal) {
  switch (refusal) {
    case Refusal::kUnknownKey:
    case Refusal::kRevoked:
    case Refusal::kInvitationExpired:
    case Refusal::kInvitationUsed:
    case Refusal::kClientTooOld:
    case Refusal::kCoordinatorTooOld:
    case Refusal::kReplacedSession: return true;
    default: return false;
  }
}

}  // namespace

Session::Session(SessionOptions options, Time now)
    : options_(std::move(options)),
      jitter_(options_.seed, "session"),
      now_(now),
      link_timer_(now),
      redeeming_(options_.redeem.has_value()),
      next_came_(now) {
  if (options_.unsent) {
    work_.assignment.id = options_.unsent->assignment;
    work_.update = *options_.unsent;
    work_.ask_at = now;
    phase_ = Phase::kOffering;
  }
}

SessionActions Session::step(const SessionEvent& event, Time now) {
  SHOAL_CHECK(now >= now_, "the session's time ran backwards");
  now_ = now;
  actions_.clear();
  if (link_ != Link::kEnded) std::visit([this](const auto& e) { on(e); }, event);
  return std::exchange(actions_, {});
}

Time Session::next_timer() const {
  if (link_ == Link::kEnded) return kNever;
  Time due = link_timer_;
  if (leased()) due = std::min(due, work_.lease_ends);
  if (asking() && link_ == Link::kOnline) due = std::min(due, work_.ask_at);
  return due;
}

void Session::on(const event::Tick&) {
  if (leased() && now_ >= work_.lease_ends) {
    log(LogLevel::kWarning, "assignment " + std::to_string(work_.assignment.id.value) +
                                " given up: " + std::string(text_of(Refusal::kLeaseExpired).sentence));
    finish();
  }
  if (asking() && link_ == Link::kOnline && now_ >= work_.ask_at) ask();
  if (now_ < link_timer_) return;
  switch (link_) {
    case Link::kOffline: connect(); break;
    case Link::kConnecting:
    case Link::kGreeting:
      log(LogLevel::kWarning, "the coordinator does not answer; trying again");
      act(action::Disconnect{});
      go_offline(Duration::zero(), reconnect_window_);
      break;
    case Link::kOnline: send(message::Heartbeat{}); break;
    case Link::kEnded: break;
  }
}

void Session::connect() {
  link_ = Link::kConnecting;
  link_timer_ = now_ + kConnectPatience;
  act(action::Connect{redeeming_});
}

void Session::on(const event::Connected&) {
  if (link_ != Link::kConnecting) return;
  link_ = Link::kGreeting;
  link_timer_ = now_ + kPatience;
  if (redeeming_) {
    send(*options_.redeem);
    return;
  }
  message::Hello hello;
  hello.build = options_.build;
  hello.facts = options_.facts;
  hello.process = options_.process;
  (sealed() ? hello.unsent : hello.working) = work_.assignment.id;
  send(std::move(hello));
}

void Session::on(const event::Disconnected& e) {
  if (link_ == Link::kOffline) return;
  if (e.denied) {
    log(LogLevel::kError,
        redeeming_ ? "the coordinator does not know this invitation; ask for a new one (" + e.reason + ")"
                   : "refused (" + std::string(text_of(Refusal::kUnknownKey).name) +
                         "): " + std::string(text_of(Refusal::kUnknownKey).sentence) + " (" + e.reason + ")");
    end(Refusal::kUnknownKey);
    return;
  }
  const bool was_online = link_ == Link::kOnline;
  go_offline(Duration::zero(), reconnect_window_);
  log(LogLevel::kWarning, std::string(was_online ? "lost the connection: " : "cannot connect: ") + e.reason +
                              "; trying again in " + human_duration(link_timer_ - now_));
}

void Session::on(const event::Received& e) {
  // A message can only be late here when the shell had it in hand while the session hung up.
  if (link_ != Link::kGreeting && link_ != Link::kOnline) return;
  std::visit([this](const auto& m) { heard(m); }, e.message);
}

void Session::on(const event::ShutdownAsked&) {
  if (link_ == Link::kOnline) send(message::Goodbye{});
  end(Refusal::kNone);
}

void Session::heard(const message::Welcome& m) {
  if (link_ != Link::kGreeting || redeeming_) return;
  if (m.protocol < protocol::kOldestProtocol || m.protocol > protocol::kNewestProtocol) {
    const bool client_is_old = m.protocol > protocol::kNewestProtocol;
    message::Refused mismatch;
    mismatch.refusal = client_is_old ? Refusal::kClientTooOld : Refusal::kCoordinatorTooOld;
    mismatch.detail = "the coordinator chose protocol " + std::to_string(m.protocol) + ", this client speaks " +
                      std::to_string(protocol::kOldestProtocol) + " to " + std::to_string(protocol::kNewestProtocol);
    session_refused(mismatch);
    return;
  }
  link_ = Link::kOnline;
  attempts_ = 0;
  heartbeat_ = m.heartbeat > Duration::zero() ? m.heartbeat : kDefaultHeartbeat;
  reconnect_window_ = m.reconnect_window;
  link_timer_ = now_ + heartbeat_ / 2;
  log(LogLevel::kInfo, "online as device " + std::to_string(m.device.value));
  if (asking()) ask();
}

void Session::heard(const message::Redeemed& m) {
  if (link_ != Link::kGreeting || !redeeming_) return;
  redeeming_ = false;
  act(action::Enrolled{m.device});
  act(action::Disconnect{});
  attempts_ = 0;
  link_ = Link::kOffline;
  link_timer_ = m.approved ? now_ : now_ + kApprovalPoll;
  log(LogLevel::kInfo, "enrolled as device " + std::to_string(m.device.value) +
                           (m.approved ? "" : "; " + std::string(text_of(Refusal::kAwaitingApproval).sentence)));
}

void Session::heard(const message::Refused& m) {
  if (!m.assignment) {
    session_refused(m);
  } else if (m.assignment == work_.assignment.id) {
    work_refused(m);
  } else if (next_ && m.assignment == next_->assignment.id) {
    next_.reset();
  }
}

void Session::heard(const message::Drain& m) {
  reconnect_window_ = m.reconnect_window;
  act(action::Disconnect{});
  go_offline(Duration::zero(), m.reconnect_window);
  log(LogLevel::kInfo, "the coordinator drains; back in " + human_duration(link_timer_ - now_));
}

void Session::session_refused(const message::Refused& m) {
  const protocol::RefusalText& text = text_of(m.refusal);
  std::string line = "refused (" + std::string(text.name) + "): " + std::string(text.sentence);
  if (!m.detail.empty()) line += " (" + m.detail + ")";
  if (is_final(m.refusal) && m.retry_after <= Duration::zero()) {
    log(LogLevel::kError, std::move(line));
    end(m.refusal);
    return;
  }
  act(action::Disconnect{});
  const Duration wait = m.refusal == Refusal::kAwaitingApproval ? kApprovalPoll : Duration::zero();
  go_offline(std::max(wait, m.retry_after), reconnect_window_);
  log(LogLevel::kWarning, line + "; trying again in " + human_duration(link_timer_ - now_));
}

// Full jitter (the whole delay is random), so that a fleet that lost its coordinator at once does not come back at
// once.
void Session::go_offline(Duration at_least, Duration window) {
  const Duration ceiling = std::max(window, backed_off(kFirstBackoff, kLongestBackoff, attempts_));
  ++attempts_;
  link_ = Link::kOffline;
  link_timer_ = saturating_add(saturating_add(now_, at_least), any_part_of(ceiling));
}

void Session::send(protocol::DeviceMessage m) {
  if (link_ == Link::kOnline) link_timer_ = now_ + heartbeat_ / 2;
  act(action::Send{std::move(m)});
}

void Session::end(Refusal refusal) {
  cancel();
  link_ = Link::kEnded;
  act(action::Exit{refusal});
}

Duration Session::patience() const { return std::max(kPatience, heartbeat_); }

Duration Session::backed_off(Duration first, Duration longest, std::uint32_t attempts) const {
  Duration delay = first;
  while (attempts-- > 0 && delay < longest) delay *= 2;
  return std::min(delay, longest);
}

Duration Session::any_part_of(Duration ceiling) { return from_seconds(to_seconds(ceiling) * jitter_.uniform()); }

}  // namespace shoal::client
