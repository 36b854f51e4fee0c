#include "simulator/engine.h"

#include <algorithm>
#include <utility>

namespace shoal::simulator {
namespace {

constexpr JobId kJob{1};

namespace action = coordinator::action;
namespace event = coordinator::event;

}  // namespace

Engine::Engine(const EngineOptions& options, const Population& population, Learning& learning, Observer& observer)
    : options_(options),
      population_(population),
      learning_(learning),
      observer_(observer),
      devices_(population.size()) {
  for (std::uint64_t d = 1; d <= population.size(); ++d) capacity_ += 1 / population.profile(DeviceId{d}).step_seconds;
}

double Engine::utilisation() const {
  const double possible = capacity_ * to_seconds(now_.time_since_epoch());
  return possible > 0 ? steps_ / possible : 0;
}

Status Engine::begin() {
  for (std::uint64_t d = 1; d <= devices_.size(); ++d) {
    const DeviceId device{d};
    const Population::Beginning beginning = population_.beginning(device);
    state(device).present = beginning.online;
    state(device).period = beginning.online ? 0 : 1;
    if (!population_.always_online()) {
      using Kind = Occurrence::Kind;
      queue_.push({.at = now_ + beginning.left,
                   .device = device,
                   .kind = beginning.online ? Kind::kGoesOffline : Kind::kComesOnline});
    }
    if (beginning.online) SHOAL_TRY(arrive(device));
  }
  return feed(event::JobSubmitted{kJob, options_.job});
}

Status Engine::turn() {
  const Time timer = machine_.next_timer(), occurrence = queue_.next();
  if (timer == kNever && occurrence == kNever)
    return Error(ErrorCode::kFailed,
                 "the job cannot go on: nothing is under way and no device is expected; "
                 "job." +
                     std::string(name_of(options_.job.policy)) + " may ask for more devices than there are");
  now_ = std::max(now_, std::min(timer, occurrence));
  // At equal times the device comes first: what arrives at the deadline itself is in time.
  if (occurrence <= timer) return occur(queue_.pop());
  return feed(event::Tick{});
}

// ---- what the machine asks for ----

Status Engine::feed(coordinator::Event first) {
  pending_.push_back(std::move(first));
  while (!pending_.empty()) {
    const coordinator::Event event = std::move(pending_.front());
    pending_.pop_front();
    ++events_;
    for (const coordinator::Action& action : machine_.step(event, now_)) SHOAL_TRY(carry(action));
    // The new version's work is under way by now, so no worker waits for the evaluation to be collected.
    if (record_ready_ && std::holds_alternative<event::Committed>(event)) SHOAL_TRY(finish_record());
  }
  return {};
}

Status Engine::carry(const coordinator::Action& action) {
  if (const auto* assign = std::get_if<action::Assign>(&action)) return carry_assign(*assign);
  if (const auto* fold = std::get_if<action::Fold>(&action)) return carry_fold(*fold);
  if (const auto* revoke = std::get_if<action::Revoke>(&action)) {
    carry_revoke(*revoke);
  } else if (const auto* answer = std::get_if<action::Answer>(&action)) {
    if (answer->refusal != protocol::Refusal::kNone) learning_.forget(answer->assignment);
  } else if (const auto* discard = std::get_if<action::Discard>(&action)) {
    for (AssignmentId id : discard->assignments) learning_.forget(id);
  } else if (const auto* drop = std::get_if<action::DropVersions>(&action)) {
    learning_.drop(drop->versions);
  } else if (const auto* ended = std::get_if<action::JobEnded>(&action)) {
    ended_ = *ended;
  } else if (const auto* opened = std::get_if<action::RoundOpened>(&action)) {
    observer_.on_opened(now_, *opened);
  } else if (const auto* closed = std::get_if<action::RoundClosed>(&action)) {
    ++rounds_;
    record_.received = closed->received;
    record_.failed += closed->failed;
    record_.outstanding = closed->outstanding;
    for (const auto& [refusal, count] : closed->refused) record_.refused[refusal] += count;
    record_.train_loss = closed->mean_loss;
    record_.staleness = closed->mean_staleness;
    if (closed->version == 0) observer_.on_abandoned(now_, *closed);
  } else if (const auto* evaluated = std::get_if<action::Evaluated>(&action)) {
    record_.devices = evaluated->facts;
  }
  return {};
}

Status Engine::carry_assign(const action::Assign& action) {
  const auto held = works_.find(action.device);
  if (held != works_.end() && held->second.assignment().id == action.assignment.id)
    return {};  // said again to a device that is back
  abandon(action.device);

  const std::uint64_t steps = local_steps(action.assignment, learning_.train_samples(action.device));
  const bool training = action.assignment.kind == protocol::TaskKind::kTrain;
  const Traffic sizes{learning_.model_bytes(), training ? learning_.update_bytes(action.assignment.training.plan) : 0};
  const Work work(population_, action.device, action.assignment, steps, sizes, now_, state(action.device).ticket);
  works_.emplace(action.device, work);
  if (!work.vanishes()) learning_.begin(action.device, action.assignment, work.next());
  schedule(action.device, work);
  return {};
}

void Engine::carry_revoke(const action::Revoke& action) {
  learning_.forget(action.assignment);
  const auto held = works_.find(action.device);
  if (held == works_.end() || held->second.assignment().id != action.assignment) return;
  if (state(action.device).reachable()) {
    abandon(action.device);
  } else {
    void_.insert(action.assignment);
  }
}

Status Engine::carry_fold(const action::Fold& fold) {
  SHOAL_TRY_ASSIGN(const Folded folded, learning_.fold(fold));
  version_ = fold.version;
  record_.version = fold.version;
  record_.norm = folded.norm;
  record_.digest = folded.digest;
  record_ready_ = true;
  const bool last = fold.version == options_.job.rounds;
  if (options_.evaluate_every > 0 && (last || fold.version % options_.evaluate_every == 0)) learning_.begin_test();
  pending_.push_back(event::Committed{fold.job, fold.version, folded.digest, folded.norm});
  return {};
}

Status Engine::finish_record() {
  SHOAL_TRY_ASSIGN(record_.test, learning_.test_result());
  record_.round = rounds_;
  record_.at = now_;
  record_.total = total_;
  const RoundRecord done = std::exchange(record_, {});
  record_ready_ = false;
  return observer_.on_round(done);
}

// ---- what happens to devices ----

Status Engine::occur(const Occurrence& occurrence) {
  using Kind = Occurrence::Kind;
  const DeviceId device = occurrence.device;
  DeviceState& s = state(device);
  switch (occurrence.kind) {
    case Kind::kComesOnline:
      s.present = true;
      next_period(device);
      return s.away ? Status{} : arrive(device);
    case Kind::kGoesOffline:
      s.present = false;
      next_period(device);
      return s.away ? Status{} : leave(device);
    case Kind::kReturns: s.away = false; return s.present ? arrive(device) : Status{};
    case Kind::kVanishes: return occurrence.ticket == s.ticket ? vanish(device) : Status{};
    case Kind::kDelivers: return occurrence.ticket == s.ticket ? deliver(device) : Status{};
  }
  return {};
}

Status Engine::arrive(DeviceId device) {
  const protocol::DeviceFacts facts{learning_.train_samples(device), learning_.test_samples(device),
                                    population_.budget(device)};
  SHOAL_TRY(feed(event::DeviceReady{device, facts}));
  const auto held = works_.find(device);
  if (held != works_.end() && held->second.paused()) {
    held->second.resume(now_);
    schedule(device, held->second);
  }
  // The service, too, says open work again to a device that comes back without it.
  const auto open = machine_.assignment_of(device, now_);
  return open ? carry_assign({device, *open}) : Status{};
}

Status Engine::leave(DeviceId device) {
  ++state(device).ticket;
  const auto held = works_.find(device);
  if (held != works_.end()) held->second.pause(now_);
  return feed(event::DeviceLost{device});
}

Status Engine::vanish(DeviceId device) {
  const AssignmentId assignment = works_.at(device).assignment().id;
  abandon(device);
  state(device).away = true;
  queue_.push({.at = saturating_add(now_, population_.absence(assignment)),
               .device = device,
               .kind = Occurrence::Kind::kReturns});
  return feed(event::DeviceLost{device});
}

Status Engine::deliver(DeviceId device) {
  const auto held = works_.find(device);
  const Work work = held->second;
  works_.erase(held);
  account(work);
  const protocol::Assignment& assignment = work.assignment();
  if (assignment.kind == protocol::TaskKind::kTrain) return deliver_update(device, work);
  protocol::EvaluationFacts facts;
  if (void_.erase(assignment.id) == 0) {
    SHOAL_TRY_ASSIGN(facts, learning_.evaluated(device, assignment));
  }
  return feed(event::EvaluationReceived{device, assignment.id, facts});
}

Status Engine::deliver_update(DeviceId device, const Work& work) {
  const AssignmentId id = work.assignment().id;
  Trained trained;
  if (void_.erase(id) > 0) {  // it will be refused whatever its content is
    trained.facts.samples = learning_.train_samples(device);
    trained.facts.steps = work.steps();
  } else {
    SHOAL_TRY_ASSIGN(trained, learning_.trained(device, work.assignment(), work.steps()));
  }
  if (trained.refusal != protocol::Refusal::kNone) {
    learning_.forget(id);
    return feed(event::AssignmentFailed{device, id, trained.refusal, {}});
  }
  trained.facts.bytes = learning_.update_bytes(work.assignment().training.plan);
  trained.facts.trained = work.trained();
  return feed(event::UpdateReceived{device, id, trained.facts});
}

void Engine::next_period(DeviceId device) {
  DeviceState& s = state(device);
  const Duration length = population_.period(device, ++s.period);
  queue_.push({.at = saturating_add(now_, length),
               .device = device,
               .kind = s.present ? Occurrence::Kind::kGoesOffline : Occurrence::Kind::kComesOnline});
}

void Engine::schedule(DeviceId device, const Work& work) {
  queue_.push({.at = work.next(),
               .device = device,
               .ticket = ++state(device).ticket,
               .kind = work.vanishes() ? Occurrence::Kind::kVanishes : Occurrence::Kind::kDelivers});
}

void Engine::abandon(DeviceId device) {
  const auto held = works_.find(device);
  if (held == works_.end()) return;
  ++state(device).ticket;
  account(held->second);
  learning_.forget(held->second.assignment().id);
  void_.erase(held->second.assignment().id);
  works_.erase(held);
}

void Engine::account(const Work& work) {
  const Traffic traffic = work.traffic(now_);
  const double steps = work.steps_made(now_);
  for (Traffic* sum : {&record_.bytes, &total_}) {
    sum->down += traffic.down;
    sum->up += traffic.up;
  }
  record_.steps += steps;
  steps_ += steps;
}

// ---- checkpoints ----

void Engine::save(Encoder& encoder) const {
  SHOAL_CHECK(pending_.empty() && !record_ready_, "an engine is saved between turns");
  encoder(machine_.save(), queue_, now_, devices_, works_, void_, rounds_, events_, version_, total_, steps_,
          record_.bytes, record_.steps, record_.failed, record_.refused, record_.devices);
  learning_.save(encoder);
}

Status Engine::load(Decoder& decoder) {
  const auto corrupt = [] {
    return Error(ErrorCode::kCorrupt, "the checkpoint does not belong to this experiment and build");
  };
  std::string snapshot;
  const std::size_t devices = devices_.size();
  decoder(snapshot, queue_, now_, devices_, works_, void_, rounds_, events_, version_, total_, steps_, record_.bytes,
          record_.steps, record_.failed, record_.refused, record_.devices);
  SHOAL_TRY(learning_.load(decoder));
  if (!decoder.at_end() || devices_.size() != devices) return corrupt();
  auto machine = coordinator::Machine::load(snapshot);
  if (!machine.ok()) return std::move(machine).error().because_of_this("cannot take up the coordinator's state");
  machine_ = *std::move(machine);
  for (const auto& [device, work] : works_)
    if (!work.vanishes() && !void_.contains(work.assignment().id))
      learning_.begin(device, work.assignment(), work.next());
  return {};
}

}  // namespace shoal::simulator
