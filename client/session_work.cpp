// The work half of the session: from an assignment to its receipt, and every way in which it can end earlier.
#include <algorithm>
#include <utility>

#include "base/units.h"
#include "client/session.h"

namespace shoal::client {

using protocol::Refusal;
using protocol::TaskKind;
namespace message = protocol::message;
using namespace std::chrono_literals;

namespace {

constexpr Duration kFirstRetry = 250ms;
constexpr Duration kLongestRetry = 20s;
// Unanswered questions are repeated ever more slowly, up to this.
constexpr Duration kLongestPatience = 10min;

std::string name(AssignmentId id) { return "assignment " + std::to_string(id.value); }

std::string describe(Refusal refusal, const std::string& detail) {
  const protocol::RefusalText& text = text_of(refusal);
  std::string line = "(" + std::string(text.name) + "): " + std::string(text.sentence);
  if (!detail.empty()) line += " (" + detail + ")";
  return line;
}

// Refusals that leave the work as good as it was.
bool is_passing(const message::Refused& m) {
  return m.refusal == Refusal::kStorageFull || m.refusal == Refusal::kBusy ||
         (m.refusal == Refusal::kUnsealable && m.retry_after > Duration::zero());
}

}  // namespace

// The phases in which the coordinator owes an answer.
bool Session::asking() const {
  return phase_ == Phase::kFetching || phase_ == Phase::kReporting || phase_ == Phase::kOffering ||
         phase_ == Phase::kAnswer;
}

bool Session::sealed() const {
  return phase_ == Phase::kOffering || phase_ == Phase::kUploading || phase_ == Phase::kAnswer;
}

// The phases in which the end of the lease ends the work. Finished work is offered even then: the coordinator decides.
bool Session::leased() const {
  return phase_ == Phase::kFinding || phase_ == Phase::kFetching || phase_ == Phase::kDownloading ||
         phase_ == Phase::kTraining || phase_ == Phase::kEvaluating;
}

WorkId Session::new_work() { return work_.running = WorkId{++works_}; }

void Session::heard(const message::Assign& m) {
  const AssignmentId id = m.assignment.id;
  if (link_ != Link::kOnline || !id) return;
  if (failed_ && failed_->assignment == id) {
    send(*failed_);
    return;
  }
  if (id == work_.assignment.id) {  // told again after a reconnect
    work_.lease_ends = saturating_add(now_, m.assignment.lease);
    return;
  }
  if (phase_ == Phase::kIdle) {
    begin(m, now_);
  } else if (leased()) {  // a device has one open assignment, so the one in hand is void
    log(LogLevel::kWarning, name(work_.assignment.id) + " given up for " + name(id));
    next_.reset();
    finish();
    begin(m, now_);
  } else {
    next_ = m;
    next_came_ = now_;
  }
}

void Session::begin(const message::Assign& m, Time came) {
  work_ = Work{};
  work_.assignment = m.assignment;
  work_.model = m.model;
  work_.lease_ends = saturating_add(came, m.assignment.lease);
  failed_.reset();
  phase_ = Phase::kFinding;
  log(LogLevel::kInfo, name(m.assignment.id) + " of job " + std::to_string(m.assignment.job.value) + ": " +
                           (m.assignment.kind == TaskKind::kTrain ? "train" : "evaluate") + " model version " +
                           std::to_string(m.assignment.version));
  act(action::FindModel{new_work(), m.model});
}

void Session::on(const event::ModelReady& e) {
  if (e.work != work_.running) return;
  work_.attempts = 0;
  if (work_.assignment.kind == TaskKind::kTrain) {
    phase_ = Phase::kTraining;
    act(action::Train{new_work(), work_.assignment, work_.model});
  } else {
    phase_ = Phase::kEvaluating;
    act(action::Evaluate{new_work(), work_.assignment, work_.model});
  }
}

void Session::on(const event::ModelMissing& e) {
  if (e.work != work_.running) return;
  work_.running = {};
  phase_ = Phase::kFetching;
  ask();
}

void Session::heard(const message::ModelTicket& m) {
  if (phase_ != Phase::kFetching || m.assignment != work_.assignment.id) return;
  phase_ = Phase::kDownloading;
  act(action::DownloadModel{new_work(), work_.model, m.ticket, m.object});
}

void Session::on(const event::TrainingFinished& e) {
  if (e.work != work_.running) return;
  char loss[32];
  std::snprintf(loss, sizeof loss, "%.4g", e.facts.loss);
  log(LogLevel::kInfo, name(work_.assignment.id) + ": trained " + std::to_string(e.facts.steps) + " steps in " +
                           human_duration(e.facts.trained) + ", loss " + loss);
  phase_ = Phase::kSealing;
  act(action::Seal{new_work(), work_.assignment.id, e.facts});
}

void Session::on(const event::UpdateSealed& e) {
  if (e.work != work_.running) {
    // Revoked while it was being written.
    if (e.object.id != work_.update.assignment.value) act(action::DropUpdate{AssignmentId{e.object.id}});
    return;
  }
  work_.running = {};
  work_.update = {work_.assignment.id, e.facts, e.object};
  phase_ = Phase::kOffering;
  ask();
}

void Session::heard(const message::UploadTicket& m) {
  if ((phase_ != Phase::kOffering && phase_ != Phase::kAnswer) || m.assignment != work_.assignment.id) return;
  if (m.first_chunk > work_.first_chunk) work_.attempts = 0;  // the last attempt got somewhere
  work_.first_chunk = m.first_chunk;
  phase_ = Phase::kUploading;
  act(action::Upload{new_work(), m.ticket, work_.update.object, m.first_chunk});
}

void Session::on(const event::UploadFinished& e) {
  if (e.work != work_.running) return;
  work_.running = {};
  work_.attempts = 0;
  phase_ = Phase::kAnswer;
  work_.ask_at = now_ + patience();
}

void Session::on(const event::EvaluationFinished& e) {
  if (e.work != work_.running) return;
  work_.running = {};
  work_.evaluation = e.facts;
  phase_ = Phase::kReporting;
  ask();
}

void Session::heard(const message::Receipt& m) {
  if (m.assignment != work_.assignment.id || phase_ == Phase::kIdle) return;
  if (sealed()) {
    log(LogLevel::kInfo, name(m.assignment) + ": update received by the coordinator");
    act(action::DropUpdate{m.assignment});
  } else if (phase_ != Phase::kReporting) {
    return;  // a receipt for what was not sent; the coordinator will say what it wants
  }
  finish();
}

void Session::heard(const message::Revoke& m) {
  if (next_ && m.assignment == next_->assignment.id) next_.reset();
  if (phase_ == Phase::kIdle || m.assignment != work_.assignment.id) return;
  log(LogLevel::kWarning, name(m.assignment) + " revoked " + describe(m.refusal, {}));
  if (sealed()) act(action::DropUpdate{m.assignment});
  finish();
}

void Session::heard(const message::PassedOver& m) {
  log(LogLevel::kWarning, "left out " + describe(m.refusal, m.detail));
}

void Session::work_refused(const message::Refused& m) {
  if (phase_ == Phase::kIdle) return;
  std::string line = name(m.assignment) + " refused " + describe(m.refusal, m.detail);
  if (!is_passing(m)) {
    log(LogLevel::kWarning, std::move(line));
    if (sealed()) act(action::DropUpdate{m.assignment});
    finish();
    return;
  }
  if (sealed()) {
    wait_and_ask(Phase::kOffering, m.retry_after);
  } else if (phase_ == Phase::kFetching || phase_ == Phase::kDownloading) {
    wait_and_ask(Phase::kFetching, m.retry_after);
  } else if (phase_ == Phase::kReporting) {
    wait_and_ask(Phase::kReporting, m.retry_after);
  } else {
    return;  // nothing of it waits for an answer
  }
  log(LogLevel::kWarning, line + "; again in " + human_duration(work_.ask_at - now_));
}

void Session::on(const event::WorkFailed& e) {
  if (e.work != work_.running) return;
  work_.running = {};
  if (phase_ == Phase::kDownloading || phase_ == Phase::kUploading) {
    log(LogLevel::kWarning, name(work_.assignment.id) + ": " + e.reason + "; resuming");
    wait_and_ask(phase_ == Phase::kDownloading ? Phase::kFetching : Phase::kOffering, Duration::zero());
  } else {
    fail(e);
  }
}

void Session::fail(const event::WorkFailed& why) {
  log(LogLevel::kWarning,
      name(work_.assignment.id) + " failed (" + std::string(text_of(why.refusal).name) + "): " + why.reason);
  failed_ = message::TaskFailed{work_.assignment.id, why.reason, why.refusal};
  if (link_ == Link::kOnline) send(*failed_);
  finish();
}

// Asks the question of the phase, or asks it again. While offline, heard(Welcome) asks it.
void Session::ask() {
  work_.ask_at = saturating_add(now_, backed_off(patience(), kLongestPatience, work_.attempts++));
  if (link_ != Link::kOnline) return;
  const AssignmentId id = work_.assignment.id;
  if (phase_ == Phase::kFetching) {
    send(message::FetchModel{id});
  } else if (phase_ == Phase::kReporting) {
    send(message::EvaluationDone{id, work_.evaluation});
  } else if (sealed()) {
    send(message::OfferUpdate{id, work_.update.facts, work_.update.object});
  }
}

void Session::wait_and_ask(Phase question, Duration at_least) {
  cancel();
  phase_ = question;
  const Duration backoff = any_part_of(backed_off(kFirstRetry, kLongestRetry, work_.attempts++));
  work_.ask_at = saturating_add(saturating_add(now_, at_least), backoff);
}

void Session::cancel() {
  if (work_.running) act(action::CancelWork{work_.running});
  work_.running = {};
}

// Back to waiting, or on to the assignment that came meanwhile.
void Session::finish() {
  cancel();
  work_ = Work{};
  phase_ = Phase::kIdle;
  if (const auto next = std::exchange(next_, std::nullopt);
      next && saturating_add(next_came_, next->assignment.lease) > now_)
    begin(*next, next_came_);
}

}  // namespace shoal::client
