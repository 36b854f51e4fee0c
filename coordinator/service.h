// The coordinator as a service: the durable machine between the two planes, the stores and the clock.
//
// One owner thread runs serve(); it alone touches machine, registry and sessions. The bulk plane, the intake's syncs
// and folds have threads of their own and hand over results. What it speaks with comes in through interfaces
// (ServiceParts), so that this file names no transport and no database.
//
// A turn of serve(): messages, intake results, fold results, posted calls and due timers become events; flush() makes
// them durable; then their actions are carried out.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "coordinator/durable_machine.h"
#include "coordinator/fold_runner.h"
#include "coordinator/history.h"
#include "coordinator/intake.h"
#include "coordinator/metrics.h"
#include "coordinator/registry.h"
#include "coordinator/service_options.h"
#include "coordinator/sessions.h"
#include "coordinator/store.h"
#include "protocol/transport.h"

namespace shoal::coordinator {

// Everything outlives the service.
struct ServiceParts {
  Journal& journal;
  BodyStore& bodies;
  ModelStore& models;
  Registry& registry;
  protocol::ControlServer& control;
  protocol::BulkServer& bulk;
  const Clock& clock;                              // monotonic, from 0 at program start
  std::function<std::int64_t()> unix_seconds;      // for people and expiry dates only
  std::function<std::uint64_t()> free_disk_bytes;  // of the data folder
  History& history;
  Metrics& metrics;
  Log& log;
};

struct ServiceState {
  std::size_t devices_online = 0;
  bool storage_full = false;
  bool draining = false;
};

class Service {
 public:
  // Recovers the machine from the journal and takes up what was under way.
  static Result<std::unique_ptr<Service>> start(ServiceOptions options, ServiceParts parts);
  ~Service();

  // Runs until stop() and then drains: tells the devices, finishes the fold it is at, flushes. An error is one that the
  // service cannot go on with (the journal is broken).
  Status serve();
  void stop();  // from any thread, and from signal handlers' self-pipe readers

  // Waits until a job has more to tell (a round, an evaluation, its end) than when `seen` was returned, at most
  // `limit` and not beyond the end of serve(). Any thread; begin with 0.
  std::uint64_t wait_for_news(std::uint64_t seen, Duration limit);

  // Serving, not draining, and with room on the disk. Any thread.
  bool ready() const { return ready_; }

  // Runs `call` on the owner thread, within its next turn. Any thread. When serve() returns, calls that have not run
  // are destroyed, as are those posted later.
  void post(std::function<void(Service&)> call);

  // ---- for posted calls: administration. Owner thread. ----
  const Machine& machine() const { return durable_.machine(); }
  const std::map<std::pair<JobId, Version>, ModelRef>& models() const { return durable_.models(); }
  Registry& registry() { return parts_.registry; }
  const Sessions& sessions() const { return sessions_; }
  const ServiceOptions& options() const { return options_; }
  History& history() { return parts_.history; }
  std::int64_t unix_seconds() const { return parts_.unix_seconds(); }
  ServiceState state() const;
  // Bytes of both planes, at most a second old: of a device since the coordinator started (device 0: of nobody who is
  // known), of a job since it began. After a restart a job's go on from its last row in the history.
  protocol::Traffic traffic_of(DeviceId device) const;
  protocol::Traffic traffic_of(JobId job) const;
  // What invitations say.
  std::string control_endpoint() const;

  JobId next_job_id();  // each call another
  // The job that was submitted with this token before.
  Result<std::optional<JobId>> submission(const std::string& token);
  // `model` is version 0, finished in the model store. `done` is called at the turn's end, when the job is durable:
  // this one, or the one that was submitted with the same token (if not empty) before.
  Status submit(JobId id, const JobSpec& spec, ModelRef model, const std::string& token,
                std::function<void(JobId)> done);
  Status stop_job(JobId id);
  Status approve(DeviceId id);
  Status revoke(DeviceId id);

 private:
  struct JobShape {  // what folds and offers need to know of a job's model
    std::uint64_t floats = 0;
    aggregation::SumScale scale;
    std::vector<protocol::UpdateLayout> updates;  // by plan
  };

  struct FoldRetry {                   // of a fold that ended without a model
    std::optional<action::Fold> fold;  // set while it waits
    Time at{};
    int failures = 0;  // other than for want of space
  };

  Service(ServiceOptions options, ServiceParts parts, DurableMachine durable);
  Time now() const;
  Duration until_next_deadline() const;

  // one turn (service.cpp)
  Status take_turns();
  void end_calls();
  void take_results();
  void take_fold(FoldDone done);
  void retry_folds();
  void run_posted();
  void watch_time();
  void count_traffic();
  void report_waiting();
  Status settle();
  void watch_storage(bool full_seen);
  void sweep_invitations();
  void save_refusals(std::size_t most);
  Status drain();
  Duration reconnect_window() const;

  // messages (service_messages.cpp)
  void on_incoming(const protocol::Incoming& incoming);
  void on_redeem(const protocol::Peer& peer, const protocol::message::Redeem& m);
  void on_hello(const protocol::Peer& peer, const DeviceRecord& record, const protocol::message::Hello& m);
  void on_fetch(Session& session, const protocol::message::FetchModel& m);
  void on_offer(Session& session, const protocol::message::OfferUpdate& m);
  void begin_upload(const Offer& offer);
  void open_upload(const Offer& offer, Result<Opening> opening);
  void send(const protocol::Peer& peer, const protocol::CoordinatorMessage& message);
  protocol::Account account_of(const protocol::Peer& peer) const;
  void refuse(const protocol::Peer& peer, protocol::Refusal refusal, AssignmentId assignment = {},
              std::string detail = {}, Duration retry_after = {});
  void note_refusal(DeviceId device, protocol::Refusal refusal, AssignmentId assignment, const std::string& detail);
  void send_open_assignment(Session& session);

  // actions (service_actions.cpp)
  void carry_out(const action::Assign& a);
  void carry_out(const action::Answer& a);
  void carry_out(const action::Revoke& a);
  void carry_out(const action::PassOver& a);
  void carry_out(const action::Fold& a);
  void carry_out(const action::Discard&) {}       // in Flushed::released
  void carry_out(const action::DropVersions&) {}  // in Flushed::models_changed
  void carry_out(const action::JobEnded& a);
  void carry_out(const action::RoundOpened& a);
  void carry_out(const action::RoundClosed& a);
  void carry_out(const action::Evaluated& a);
  void tell_news();
  Result<JobShape> shape_of(JobId job);
  std::string job_name(JobId job) const;
  HistoryRow new_row(JobId job, Version version) const;

  ServiceOptions options_;
  ServiceParts parts_;
  DurableMachine durable_;
  Sessions sessions_;
  SealedUpdates updates_;
  std::map<JobId, JobShape> shapes_;
  std::map<AssignmentId, std::string> tickets_;  // user of the open upload ticket
  std::map<AssignmentId, int> damaged_;          // how often a chunk of it did not open
  std::map<AssignmentId, std::string> failed_;   // what the device said of its failure, until it is answered
  std::map<JobId, FoldRetry> fold_retries_;
  std::vector<std::function<void()>> after_flush_;
  std::uint64_t next_job_ = 1;
  Time started_at_{};  // machine time when the program's clock read zero
  Time next_storage_look_{};
  Time next_traffic_count_{};
  std::map<JobId, Time> waiting_;  // for devices; when the log says so next
  Time next_waiting_look_{};
  Time next_sweep_{};
  Time next_refusals_saved_{};
  std::map<protocol::Account, protocol::Traffic> control_traffic_;  // since the last count_traffic()
  std::map<DeviceId, protocol::Traffic> device_traffic_;
  std::map<JobId, protocol::Traffic> job_traffic_;
  bool flush_failed_ = false;

  std::mutex posted_mutex_;
  std::vector<std::function<void(Service&)>> posted_;
  std::atomic<bool> ended_ = false;
  std::mutex news_mutex_;
  std::condition_variable news_told_;
  std::uint64_t news_ = 1;
  std::atomic<bool> stopping_ = false;
  std::atomic<bool> ready_ = false;

  Intake intake_;  // their threads end before what they refer to
  FoldRunner folds_;
};

}  // namespace shoal::coordinator
