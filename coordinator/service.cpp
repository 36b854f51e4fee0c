#include "coordinator/service.h"

#include <algorithm>

#include "base/check.h"
#include "base/units.h"

namespace shoal::coordinator {
namespace {

using protocol::Refusal;

constexpr Duration kLongestWait = std::chrono::seconds(1);
constexpr Duration kStorageInterval = std::chrono::seconds(1);
constexpr Duration kTrafficInterval = std::chrono::seconds(1);
constexpr Duration kWaitingLook = std::chrono::seconds(2);
constexpr Duration kWaitingReminder = std::chrono::minutes(1);
constexpr Duration kSweepInterval = std::chrono::hours(1);
constexpr Duration kRefusalsInterval = std::chrono::seconds(5);
constexpr std::size_t kRefusalsSavedAtOnce = 32, kRefusalsSavedAtTheEnd = 1000;  // each is a synced write
constexpr std::string_view kSubmissions = "submissions";
constexpr Duration kDrainLimit = std::chrono::seconds(30);
// Tries that an update has whose chunks do not open, and when to try again.
constexpr int kMostDamaged = 3;
constexpr Duration kDamagedAgain = std::chrono::milliseconds(100);
// Tries that a fold has which fails for a reason that may pass, and the pauses between them: 1 s, 4 s, 16 s.
constexpr int kMostFoldAttempts = 4;
constexpr Duration kFirstFoldPause = std::chrono::seconds(1);
constexpr int kFoldPauseGrowth = 4;

// A disk or a store that may do better the next time. What is corrupt, missing or not finite stays so.
bool may_pass(ErrorCode code) { return code == ErrorCode::kFailed || code == ErrorCode::kUnavailable; }

}  // namespace

Result<std::unique_ptr<Service>> Service::start(ServiceOptions options, ServiceParts parts) {
  SHOAL_TRY_ASSIGN(DurableMachine durable, DurableMachine::recover(parts.journal));
  SHOAL_TRY(parts.journal.put(kSettingsTable, kQuietKey, {}));
  std::unique_ptr<Service> service(new Service(std::move(options), parts, std::move(durable)));
  Service& s = *service;

  // Bodies that no open assignment or pending update refers to are left from before a crash.
  std::vector<AssignmentId> orphans;
  for (AssignmentId id : parts.bodies.held())
    if (!s.machine().needs_body(id)) orphans.push_back(id);
  SHOAL_TRY(parts.bodies.release(orphans));
  std::vector<ModelRef> refs;
  for (const auto& [key, ref] : s.models()) refs.push_back(ref);
  SHOAL_TRY(parts.models.keep_only(refs));

  for (const JobSummary& job : s.machine().jobs()) s.next_job_ = std::max(s.next_job_, job.job.value + 1);
  for (const auto& [key, ref] : s.models()) s.next_job_ = std::max(s.next_job_, key.first.value + 1);
  for (const action::Fold& fold : s.machine().open_folds()) s.carry_out(fold);
  // Whoever was online before may be gone: each gets one session's time to come back.
  for (DeviceId device : s.machine().online()) s.sessions_.open(device, {}, 0, {}, s.now() + 3 * s.options_.heartbeat);
  return service;
}

Service::Service(ServiceOptions options, ServiceParts parts, DurableMachine durable)
    : options_(std::move(options)),
      parts_(parts),
      durable_(std::move(durable)),
      updates_(parts.bodies),
      started_at_(durable_.recovered_at() - (parts.clock.now() - Time{})),
      intake_(parts.bodies, [this] { parts_.control.wake(); }),
      folds_(updates_, parts.models, [this] { parts_.control.wake(); }) {}

// The bulk plane outlives the service: no upload may be written to it any more.
Service::~Service() {
  for (const auto& [assignment, user] : tickets_) parts_.bulk.withdraw(user);
}

// Persisted time plus monotonic time: never backwards, whatever the wall clock does.
Time Service::now() const { return started_at_ + (parts_.clock.now() - Time{}); }

void Service::stop() {
  stopping_ = true;
  parts_.control.wake();
}

void Service::post(std::function<void(Service&)> call) {
  {
    const std::lock_guard lock(posted_mutex_);
    if (ended_) return;
    posted_.push_back(std::move(call));
  }
  parts_.control.wake();
}

std::uint64_t Service::wait_for_news(std::uint64_t seen, Duration limit) {
  std::unique_lock lock(news_mutex_);
  news_told_.wait_for(lock, limit, [&] { return ended_ || news_ != seen; });
  return news_;
}

void Service::tell_news() {
  {
    const std::lock_guard lock(news_mutex_);
    ++news_;
  }
  news_told_.notify_all();
}

Status Service::serve() {
  Status served = take_turns();
  ready_ = false;
  if (served.ok()) served = drain();
  end_calls();
  return served;
}

// Whoever waits for a posted call or for news learns now that neither comes any more.
void Service::end_calls() {
  std::vector<std::function<void(Service&)>> dropped;
  {
    const std::lock_guard lock(posted_mutex_);
    ended_ = true;
    dropped.swap(posted_);
  }
  after_flush_.clear();
  tell_news();
}

Status Service::take_turns() {
  while (!stopping_) {
    for (const protocol::Incoming& incoming : parts_.control.poll(until_next_deadline())) on_incoming(incoming);
    take_results();
    run_posted();
    watch_time();
    SHOAL_TRY(settle());
    ready_ = !machine().storage_full() && !flush_failed_;
  }
  return {};
}

Duration Service::until_next_deadline() const {
  const Time next = std::min({machine().next_timer(), sessions_.next_loss(), now() + kLongestWait});
  return std::max(Duration::zero(), next - now());
}

void Service::take_results() {
  bool full = false;
  for (Intake::Resumed& resumed : intake_.resumed()) open_upload(resumed.offer, std::move(resumed.opening));
  for (IntakeResult& result : intake_.results()) {
    const Offer& offer = result.offer;
    tickets_.erase(offer.assignment);
    if (result.error) {
      full |= result.error->code() == ErrorCode::kExhausted;
      parts_.log.warn("an upload could not be stored assignment=" + std::to_string(offer.assignment.value) + ": " +
                      result.error->to_string());
      if (Session* session = sessions_.find(offer.device))
        refuse(session->peer, full ? Refusal::kStorageFull : Refusal::kBusy, offer.assignment, {},
               kStorageInterval * 5);
    } else if (result.refusal == Refusal::kUnsealable && ++damaged_[offer.assignment] < kMostDamaged) {
      // Perhaps only the link's doing. The chunks before it are held and need not come again.
      if (Session* session = sessions_.find(offer.device))
        refuse(session->peer, result.refusal, offer.assignment, {}, kDamagedAgain);
    } else if (result.refusal != Refusal::kNone) {
      durable_.step(event::AssignmentFailed{offer.device, offer.assignment, result.refusal, {}}, now());
    } else {
      durable_.step(event::UpdateReceived{offer.device, offer.assignment, offer.facts}, now());
    }
  }
  if (full) watch_storage(true);
  for (FoldDone& done : folds_.finished()) take_fold(std::move(done));
}

// A fold without a model is tried again: when there is room for it, or a few times after ever longer pauses.
void Service::take_fold(FoldDone done) {
  const JobId job = done.fold.job;
  if (done.result.ok()) {
    const FoldResult& result = done.result.value();
    durable_.step_with_model(event::Committed{job, done.fold.version, result.model.digest, result.norm}, now(),
                             result.model);
    fold_retries_.erase(job);
    return;
  }
  const Error& error = done.result.error();
  FoldRetry& retry = fold_retries_[job];
  retry.fold = std::move(done.fold);
  retry.at = now();
  if (error.code() == ErrorCode::kExhausted) {
    parts_.log.warn("a fold waits for disk space job=" + job_name(job));
    watch_storage(true);
  } else if (may_pass(error.code()) && ++retry.failures < kMostFoldAttempts) {
    Duration pause = kFirstFoldPause;
    for (int i = 1; i < retry.failures; ++i) pause *= kFoldPauseGrowth;
    retry.at = now() + pause;
    parts_.log.warn("a fold failed job=" + job_name(job) + ": " + error.to_string() + "; trying again in " +
                    human_duration(pause));
  } else {
    parts_.log.error("a fold failed job=" + job_name(job) + ": " + error.to_string());
    fold_retries_.erase(job);
    durable_.step(event::FoldFailed{job, error.to_string()}, now());
  }
}

void Service::retry_folds() {
  if (machine().storage_full()) return;
  for (auto& [job, retry] : fold_retries_)
    if (retry.fold && retry.at <= now()) carry_out(*std::exchange(retry.fold, std::nullopt));
}

void Service::run_posted() {
  std::vector<std::function<void(Service&)>> calls;
  {
    const std::lock_guard lock(posted_mutex_);
    calls.swap(posted_);
  }
  for (auto& call : calls) call(*this);
}

void Service::watch_time() {
  if (machine().next_timer() <= now()) durable_.step(event::Tick{}, now());
  for (DeviceId device : sessions_.lost(now())) {
    sessions_.close(device);
    durable_.step(event::DeviceLost{device, false}, now());
    parts_.log.info("lost device=" + std::to_string(device.value) + ": nothing heard for three heartbeats");
    parts_.metrics.add("shoal_devices_lost_total");
  }
  if (now() >= next_storage_look_) watch_storage(false);
  retry_folds();
  if (now() >= next_sweep_) sweep_invitations();
  if (now() >= next_refusals_saved_) save_refusals(kRefusalsSavedAtOnce);
  if (now() >= next_traffic_count_) count_traffic();
  if (now() >= next_waiting_look_) report_waiting();
}

// Says of each job that waits for devices that it does: soon after it began to, and then now and again.
void Service::report_waiting() {
  next_waiting_look_ = now() + kWaitingLook;
  for (const JobSummary& job : machine().jobs()) {
    if (job.devices_wanted == 0) {
      waiting_.erase(job.job);
      continue;
    }
    const auto [report, begins] = waiting_.try_emplace(job.job, now() + kWaitingLook);
    if (begins || now() < report->second) continue;
    report->second = now() + kWaitingReminder;
    parts_.log.info("job=" + job.spec.name + ": waiting for " + std::to_string(job.devices_wanted) + " devices, " +
                    std::to_string(job.devices_idle) + " idle");
  }
}

// Adds what both planes have moved since the last call to devices, jobs and metrics.
void Service::count_traffic() {
  next_traffic_count_ = now() + kTrafficInterval;
  std::map<protocol::Account, protocol::Traffic> moved = parts_.bulk.take_traffic();
  for (const auto& [account, traffic] : std::exchange(control_traffic_, {})) moved[account] += traffic;
  std::map<JobId, protocol::Traffic> by_job;
  for (const auto& [account, traffic] : moved) {
    device_traffic_[account.device] += traffic;
    if (account.job) by_job[account.job] += traffic;
  }
  for (const auto& [job, traffic] : by_job) {
    protocol::Traffic total = traffic_of(job);
    job_traffic_[job] = total += traffic;
    const std::string name = job_name(job);
    parts_.metrics.add("shoal_job_received_bytes_total", static_cast<double>(traffic.up), {"job", name});
    parts_.metrics.add("shoal_job_sent_bytes_total", static_cast<double>(traffic.down), {"job", name});
  }

  const protocol::BulkCounters bulk = parts_.bulk.counters();
  const protocol::Traffic control = parts_.control.traffic();
  const auto count = [this](std::string_view name, std::uint64_t value) {
    parts_.metrics.set(name, static_cast<double>(value));
  };
  count("shoal_bulk_chunks_received_total", bulk.chunks_received);
  count("shoal_bulk_chunks_sent_total", bulk.chunks_sent);
  count("shoal_bulk_received_bytes_total", bulk.bytes_received);
  count("shoal_bulk_sent_bytes_total", bulk.bytes_sent);
  count("shoal_bulk_handshakes_denied_total", bulk.handshakes_denied);
  count("shoal_control_handshakes_denied_total", parts_.control.handshakes_denied());
  count("shoal_control_received_bytes_total", control.up);
  count("shoal_control_sent_bytes_total", control.down);
}

// Full as soon as a write failed or less than min_free_disk is left; has room again when twice that is free.
void Service::watch_storage(bool full_seen) {
  next_storage_look_ = now() + kStorageInterval;
  const std::uint64_t free = parts_.free_disk_bytes();
  const bool was_full = machine().storage_full();
  const bool full = full_seen || free < options_.min_free_disk.count * (was_full ? 2 : 1);
  parts_.metrics.set("shoal_disk_free_bytes", static_cast<double>(free));
  parts_.metrics.set("shoal_storage_full", full ? 1 : 0);
  if (full == was_full) return;
  durable_.step(event::StorageChanged{full}, now());
  if (full) {
    parts_.log.error("the disk is full: nothing is assigned or accepted until there is room free_bytes=" +
                     std::to_string(free));
  } else {
    parts_.log.info("the disk has room again free_bytes=" + std::to_string(free));
  }
}

void Service::sweep_invitations() {
  next_sweep_ = now() + kSweepInterval;
  if (const Status swept = parts_.registry.sweep(parts_.unix_seconds()); !swept.ok())
    parts_.log.warn("old invitations could not be forgotten: " + swept.error().to_string());
}

// What devices were refused lately, at a pace that they cannot force.
void Service::save_refusals(std::size_t most) {
  next_refusals_saved_ = now() + kRefusalsInterval;
  if (machine().storage_full()) return;
  if (const Status saved = parts_.registry.save_refusals(most); !saved.ok())
    parts_.log.warn("refusals could not be noted: " + saved.error().to_string());
}

// Makes the turn durable and carries it out. A full disk is waited for; any other journal error ends the service.
Status Service::settle() {
  if (!durable_.has_unwritten() && after_flush_.empty()) return {};
  Result<Flushed> flushed = durable_.flush();
  if (!flushed.ok()) {
    if (flushed.error().code() != ErrorCode::kExhausted)
      return std::move(flushed).error().because_of_this("the journal cannot be written");
    if (!std::exchange(flush_failed_, true))
      parts_.log.error("the journal waits for disk space: " + flushed.error().to_string());
    if (!machine().storage_full()) watch_storage(true);
    return {};
  }
  flush_failed_ = false;
  for (const Action& action : flushed->actions) std::visit([this](const auto& a) { carry_out(a); }, action);
  for (auto& call : std::exchange(after_flush_, {})) call();
  for (AssignmentId id : flushed->released) intake_.forget(id);
  if (!flushed->released.empty()) SHOAL_TRY(parts_.bodies.release(flushed->released));
  if (flushed->models_changed) {
    std::vector<ModelRef> refs;
    for (const auto& [key, ref] : models()) refs.push_back(ref);
    SHOAL_TRY(parts_.models.keep_only(refs));
  }
  return {};
}

Status Service::drain() {
  parts_.log.info("draining: devices come back after the restart");
  for (DeviceId device : sessions_.all())
    if (const Session* session = sessions_.find(device); !session->peer.route.empty())
      send(session->peer, protocol::message::Drain{reconnect_window()});
  const Time limit = now() + kDrainLimit;
  while (folds_.busy() && now() < limit) {
    (void)parts_.control.poll(std::chrono::milliseconds(100));
    take_results();
    SHOAL_TRY(settle());
  }
  take_results();
  SHOAL_TRY(settle());
  save_refusals(kRefusalsSavedAtTheEnd);
  if (!machine().quiet() || durable_.has_unwritten()) return {};
  // No round is open: an upgrade may take the state over.
  SHOAL_TRY(durable_.checkpoint(now()));
  return parts_.journal.put(kSettingsTable, kQuietKey, "yes");
}

ServiceState Service::state() const { return {machine().online_devices(), machine().storage_full(), stopping_.load()}; }

protocol::Traffic Service::traffic_of(DeviceId device) const {
  const auto found = device_traffic_.find(device);
  return found == device_traffic_.end() ? protocol::Traffic{} : found->second;
}

protocol::Traffic Service::traffic_of(JobId job) const {
  const auto found = job_traffic_.find(job);
  return found == job_traffic_.end() ? parts_.history.traffic(job) : found->second;
}

Duration Service::reconnect_window() const {
  // A handshake costs about half a millisecond of this machine's processor; four devices' worth of room for each.
  const Duration by_load = std::chrono::milliseconds(2) * static_cast<std::int64_t>(parts_.registry.size());
  return std::max<Duration>(std::chrono::seconds(5), by_load);
}

// ---- administration ----

JobId Service::next_job_id() { return JobId{next_job_++}; }

std::string Service::control_endpoint() const {
  return options_.advertised_control.empty() ? parts_.control.endpoint() : options_.advertised_control;
}

Result<std::optional<JobId>> Service::submission(const std::string& token) {
  if (token.empty()) return std::optional<JobId>();
  SHOAL_TRY_ASSIGN(const auto row, parts_.journal.get(kSubmissions, token));
  if (!row) return std::optional<JobId>();
  const auto id = decode_state<JobId>(*row);
  // The row is written before the job: without the job, nothing was submitted.
  if (!id || !machine().job(*id)) return std::optional<JobId>();
  return id;
}

Status Service::submit(JobId id, const JobSpec& spec, ModelRef model, const std::string& token,
                       std::function<void(JobId)> done) {
  SHOAL_TRY(check(spec));
  SHOAL_TRY_ASSIGN(const auto known, submission(token));
  if (known) {
    if (const Status dropped = parts_.models.discard(model); !dropped.ok())
      parts_.log.warn("a model that was imported twice is still there: " + dropped.error().to_string());
    // Submitted meanwhile, and perhaps not durable yet.
    after_flush_.push_back([done = std::move(done), known] { done(*known); });
    return {};
  }
  if (machine().storage_full())
    return Error(ErrorCode::kExhausted, "the coordinator's disk is full; make room and submit again");
  if (!token.empty()) SHOAL_TRY(parts_.journal.put(kSubmissions, token, encode_state(id)));
  durable_.step_with_model(event::JobSubmitted{id, spec}, now(), std::move(model));
  after_flush_.push_back([done = std::move(done), id] { done(id); });
  parts_.log.info("submitted job=" + spec.name + " id=" + std::to_string(id.value) +
                  " policy=" + std::string(name_of(spec.policy)) + " rounds=" + std::to_string(spec.rounds));
  return {};
}

Status Service::stop_job(JobId id) {
  const auto job = machine().job(id);
  if (!job) return Error(ErrorCode::kNotFound, "there is no job " + std::to_string(id.value));
  durable_.step(event::JobStopRequested{id}, now());
  return {};
}

Status Service::approve(DeviceId id) {
  const DeviceRecord* record = parts_.registry.find(id);
  if (record != nullptr && record->standing == Standing::kRevoked)
    return Error(ErrorCode::kInvalid,
                 "device " + std::to_string(id.value) +
                     " was revoked, and its key with it; it can join with a new invitation and another --state folder");
  return parts_.registry.set_standing(id, Standing::kApproved);
}

Status Service::revoke(DeviceId id) {
  SHOAL_TRY(parts_.registry.set_standing(id, Standing::kRevoked));
  durable_.step(event::DeviceLost{id, true}, now());
  if (const Session* session = sessions_.find(id)) {
    refuse(session->peer, Refusal::kRevoked);
    sessions_.close(id);
  }
  parts_.log.info("revoked device=" + std::to_string(id.value));
  return {};
}

}  // namespace shoal::coordinator
