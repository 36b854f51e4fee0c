// The client's session as a pure machine, `step(event, now) -> actions`: one connection to the coordinator, one work at
// a time.
//
// No sockets, threads, disk or clock. The daemon drives it with real sockets and a worker thread, the simulator with a
// virtual network and virtual time. Two state variables, independent of each other, are all there is: how far the link
// to the coordinator is (Link), and how far the work in hand is (Phase). So a lost connection never loses work, and
// work never waits for a connection that it does not need.
//
//   link    kOffline -> kConnecting -> kGreeting -> kOnline, and back to kOffline whenever the connection ends
//   train   kFinding -> kFetching -> kDownloading -> kTraining -> kSealing -> kOffering -> kUploading -> kAnswer
//   evaluate   ... -> kEvaluating -> kReporting
//
// From kOffering on the update is sealed and synced on the device's disk: it is offered again, over reconnects and
// restarts, until a receipt or a final refusal answers it. Before that, work is given up when its lease ends or it is
// revoked.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/log.h"
#include "base/rng.h"
#include "base/time.h"
#include "protocol/messages.h"

namespace shoal::client {

// Numbers what the shell was asked to do. The shell's answer names it; an answer to something given up is ignored.
using WorkId = Id<struct WorkTag>;

namespace event {

struct Connected {};
// The connection ended, or could not be made. `denied`: the handshake was refused.
struct Disconnected {
  bool denied = false;
  std::string reason;
};
struct Received {
  protocol::CoordinatorMessage message;
};
// The model is in the cache, complete and verified: the answer to FindModel or DownloadModel.
struct ModelReady {
  WorkId work;
};
// The answer to FindModel when the cache does not hold it.
struct ModelMissing {
  WorkId work;
};
// `facts` without digest and bytes, which sealing adds.
struct TrainingFinished {
  WorkId work;
  protocol::UpdateFacts facts;
};
struct EvaluationFinished {
  WorkId work;
  protocol::EvaluationFacts facts;
};
// The update is sealed and synced on disk.
struct UpdateSealed {
  WorkId work;
  protocol::UpdateFacts facts;
  protocol::ObjectInfo object;
};
struct UploadFinished {
  WorkId work;
};
// Any work that the shell could not do.
struct WorkFailed {
  WorkId work;
  std::string reason;
  protocol::Refusal refusal = protocol::Refusal::kTaskFailed;  // one that is_found_by_client()
};
// Session::next_timer() has come.
struct Tick {};
// The program was asked to stop.
struct ShutdownAsked {};

}  // namespace event

using SessionEvent =
    std::variant<event::Connected, event::Disconnected, event::Received, event::ModelReady, event::ModelMissing,
                 event::TrainingFinished, event::EvaluationFinished, event::UpdateSealed, event::UploadFinished,
                 event::WorkFailed, event::Tick, event::ShutdownAsked>;

namespace action {

// Make one connection attempt, replacing whatever channel there is. Answered with Connected or Disconnected.
struct Connect {
  bool with_invitation = false;  // use the invitation's one-time key, else the device's own
};
// Close the channel; no Disconnected follows.
struct Disconnect {};
struct Send {
  protocol::DeviceMessage message;
};
// The device is registered: the invitation's secret is not needed any more.
struct Enrolled {
  DeviceId device;
};
// Look in the cache. Answered with ModelReady or ModelMissing.
struct FindModel {
  WorkId work;
  Digest model;
};
// Download into the cache, resuming what is there, and verify. Answered with ModelReady or WorkFailed.
struct DownloadModel {
  WorkId work;
  Digest model;
  protocol::Ticket ticket;
  protocol::ObjectInfo object;
};
// Answered with TrainingFinished or WorkFailed; the shell keeps the delta for Seal.
struct Train {
  WorkId work;
  protocol::Assignment assignment;
  Digest model;
};
// Answered with EvaluationFinished or WorkFailed.
struct Evaluate {
  WorkId work;
  protocol::Assignment assignment;
  Digest model;
};
// Seal the delta of the training that just finished, and sync it. Answered with UpdateSealed or WorkFailed.
struct Seal {
  WorkId work;
  AssignmentId assignment;
  protocol::UpdateFacts facts;
};
// Send the sealed update from `first_chunk` on. Answered with UploadFinished or WorkFailed.
struct Upload {
  WorkId work;
  protocol::Ticket ticket;
  protocol::ObjectInfo object;
  std::uint32_t first_chunk = 0;
};
// The update was answered: remove it from the disk.
struct DropUpdate {
  AssignmentId assignment;
};
// Give up the work that runs. Its answer, if one still comes, is ignored.
struct CancelWork {
  WorkId work;
};
// The session is over; nothing follows. kNone: as asked.
struct Exit {
  protocol::Refusal refusal = protocol::Refusal::kNone;
};
struct Log {
  LogLevel level = LogLevel::kInfo;
  std::string text;
};

}  // namespace action

using SessionAction =
    std::variant<action::Connect, action::Disconnect, action::Send, action::Enrolled, action::FindModel,
                 action::DownloadModel, action::Train, action::Evaluate, action::Seal, action::Upload,
                 action::DropUpdate, action::CancelWork, action::Exit, action::Log>;
using SessionActions = std::vector<SessionAction>;

// An update that waits on the device's disk for its answer.
struct UnsentUpdate {
  AssignmentId assignment;
  protocol::UpdateFacts facts;
  protocol::ObjectInfo object;

  template <class Archive>
  void fields(Archive& a) {
    a(assignment, facts, object);
  }
};

struct SessionOptions {
  std::string build;                                // said in Hello
  protocol::DeviceFacts facts;                      // said in Hello
  std::optional<protocol::message::Redeem> redeem;  // set: redeem the invitation first
  std::optional<UnsentUpdate> unsent;               // found on disk at start
  std::uint64_t seed = 0;                           // of the back-off's jitter; differs between devices
  std::uint64_t process = 0;                        // said in Hello; differs between processes
};

enum class Link : std::uint8_t { kOffline, kConnecting, kGreeting, kOnline, kEnded };
enum class Phase : std::uint8_t {
  kIdle,
  kFinding,
  kFetching,  // waits for a ModelTicket
  kDownloading,
  kTraining,
  kEvaluating,
  kReporting,  // waits for the answer to EvaluationDone
  kSealing,
  kOffering,  // waits for the answer to OfferUpdate
  kUploading,
  kAnswer,  // everything was sent; waits for the receipt
};

// Not thread-safe: one owner thread.
class Session {
 public:
  // Wants its first Tick at once.
  Session(SessionOptions options, Time now);

  // `now` never runs backwards. After action::Exit every event is ignored.
  SessionActions step(const SessionEvent& event, Time now);

  // When event::Tick is due; kNever when nothing waits.
  Time next_timer() const;

  Link link() const { return link_; }
  Phase phase() const { return phase_; }
  // The assignment in hand; 0 while idle.
  AssignmentId assignment() const { return work_.assignment.id; }

 private:
  struct Work {
    protocol::Assignment assignment;
    Digest model;
    WorkId running;  // what the shell does for it now; 0 = nothing
    Time lease_ends = kNever;
    UnsentUpdate update;                   // from kOffering on
    protocol::EvaluationFacts evaluation;  // in kReporting
    std::uint32_t attempts = 0;            // failed transfers and unanswered questions in a row
    std::uint32_t first_chunk = 0;         // where the last upload began
    Time ask_at = kNever;                  // when to ask (again); only in the phases that wait for an answer
  };

  // session.cpp: the link to the coordinator.
  void on(const event::Connected&);
  void on(const event::Disconnected&);
  void on(const event::Received&);
  void on(const event::Tick&);
  void on(const event::ShutdownAsked&);
  void heard(const protocol::message::Welcome&);
  void heard(const protocol::message::Redeemed&);
  void heard(const protocol::message::Refused&);
  void heard(const protocol::message::Drain&);
  void connect();
  void go_offline(Duration at_least, Duration window);
  void session_refused(const protocol::message::Refused&);
  void send(protocol::DeviceMessage message);
  void end(protocol::Refusal refusal);
  Duration patience() const;
  Duration backed_off(Duration first, Duration longest, std::uint32_t attempts) const;
  Duration any_part_of(Duration ceiling);

  // session_work.cpp: the work in hand.
  void on(const event::ModelReady&);
  void on(const event::ModelMissing&);
  void on(const event::TrainingFinished&);
  void on(const event::EvaluationFinished&);
  void on(const event::UpdateSealed&);
  void on(const event::UploadFinished&);
  void on(const event::WorkFailed&);
  void heard(const protocol::message::Assign&);
  void heard(const protocol::message::ModelTicket&);
  void heard(const protocol::message::UploadTicket&);
  void heard(const protocol::message::Receipt&);
  void heard(const protocol::message::Revoke&);
  void heard(const protocol::message::PassedOver&);
  void work_refused(const protocol::message::Refused&);
  void begin(const protocol::message::Assign&, Time came);
  void finish();
  void fail(const event::WorkFailed& why);
  void cancel();
  void ask();
  void wait_and_ask(Phase question, Duration at_least);
  bool asking() const;
  bool sealed() const;
  bool leased() const;
  WorkId new_work();

  template <class Action>
  void act(Action action) {
    actions_.emplace_back(std::move(action));
  }
  void log(LogLevel level, std::string text) { act(action::Log{level, std::move(text)}); }

  SessionOptions options_;
  Stream jitter_;
  SessionActions actions_;  // of the step that runs
  Time now_;

  Link link_ = Link::kOffline;
  Time link_timer_;             // kOffline: connect; kConnecting, kGreeting: give up; kOnline: heartbeat
  std::uint32_t attempts_ = 0;  // connections since the last Welcome
  Duration heartbeat_{};        // as the last Welcome said
  Duration reconnect_window_{};
  bool redeeming_ = false;

  Phase phase_ = Phase::kIdle;
  Work work_;
  std::optional<protocol::message::Assign> next_;  // came while an update waited for its answer
  Time next_came_;
  std::optional<protocol::message::TaskFailed> failed_;  // told again if the same assignment comes again
  std::uint64_t works_ = 0;
};

}  // namespace shoal::client
