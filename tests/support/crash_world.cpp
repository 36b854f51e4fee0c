#include "tests/support/crash_world.h"

#include <algorithm>
#include <cstring>
#include <queue>

#include "base/rng.h"
#include "protocol/safetensors.h"
#include "protocol/sealed_object.h"
#include "protocol/sha256.h"

namespace shoal::coordinator::testing {
namespace {

// Thrown where a store operation failed: the coordinator is dead from here.
struct Died {};

template <class T>
T survive(Result<T> result) {
  if (!result.ok()) throw Died{};
  return std::move(result).value();
}
void survive(Status status) {
  if (!status.ok()) throw Died{};
}

// A device's finished work, sealed once; on its disk until answered.
struct Parcel {
  protocol::Assignment assignment;
  protocol::ObjectInfo object;
  protocol::UpdateFacts facts;
  std::vector<std::byte> plain;
};

std::vector<float> delta_of(const protocol::Assignment& a, std::uint64_t floats) {
  // Of device and base version alone (through the seed), so that the same work gives the same bits in every life.
  Stream draw(a.seed, "delta");
  std::vector<float> delta(floats);
  for (float& x : delta) x = static_cast<float>(draw.normal() * 0.01);
  return delta;
}

Parcel pack(const protocol::Assignment& a, DeviceId device, std::uint64_t floats) {
  Parcel parcel;
  parcel.assignment = a;
  const std::vector<float> delta = delta_of(a, floats);
  parcel.plain.resize(floats * sizeof(float));
  std::memcpy(parcel.plain.data(), delta.data(), parcel.plain.size());
  parcel.object.id = a.id.value;
  parcel.object.bytes = parcel.plain.size();
  for (std::size_t i = 0; i < parcel.object.key.size(); ++i)
    parcel.object.key[i] = static_cast<std::uint8_t>(a.id.value * 31 + i);
  parcel.facts.digest = protocol::sha256(parcel.plain);
  parcel.facts.bytes = parcel.object.bytes;
  parcel.facts.samples = 10 + device.value;
  parcel.facts.steps = a.steps > 0 ? a.steps : 2;
  return parcel;
}

class World {
 public:
  explicit World(const CrashWorldOptions& options) : o_(options) {}

  CrashOutcome run() {
    for (int lives = 0; lives < 10000 && !ended_; ++lives) {
      try {
        live();
      } catch (const Died&) {
        ++out_.crashes;
        durable_.reset();
        o_.crash();
      }
    }
    if (!ended_) out_.problems.push_back("the job never ended");
    judge();
    return std::move(out_);
  }

 private:
  using Machine_ = DurableMachine;

  // One life of the coordinator, from recovery to the job's end or death.
  void live() {
    stores_ = o_.open();
    auto recovered = DurableMachine::recover(*stores_.journal);
    if (!recovered.ok() && recovered.error().code() == ErrorCode::kCorrupt) {
      out_.problems.push_back("recovery: " + recovered.error().to_string());
      ended_ = true;
      return;
    }
    durable_.emplace(survive(std::move(recovered)));
    now_ = std::max(now_, durable_->recovered_at());
    check_promises();
    std::vector<AssignmentId> orphans;
    for (AssignmentId id : stores_.bodies->held())
      if (!machine().needs_body(id)) orphans.push_back(id);
    survive(stores_.bodies->release(orphans));
    keep_models();
    const auto open_folds = machine().open_folds();
    for (const action::Fold& fold : open_folds) fold_now(fold);
    if (machine().jobs().empty()) submit();
    for (std::uint64_t d = 1; d <= o_.devices; ++d) reconnect(DeviceId{d});
    while (!ended_) {
      const auto job = machine().job(JobId{1});
      if (job && job->status != JobStatus::kRunning) {
        ended_ = true;
        break;
      }
      turn();
    }
    if (ended_) read_model();
  }

  const Machine& machine() const { return durable_->machine(); }

  void submit() {
    std::vector<TensorSpec> tensors{{"w", {o_.floats}, "backbone"}};
    const TensorLayout layout = TensorLayout::make(tensors).value();
    const std::string header = protocol::make_header(layout, {}).value();
    auto writer = survive(stores_.models->create(JobId{1}, 0, aggregation::state_arrays(o_.spec.optimizer.name)));
    survive(writer->write(std::as_bytes(std::span(header))));
    const std::vector<float> zeros(o_.floats);
    survive(writer->write(std::as_bytes(std::span(zeros))));
    durable_->step_with_model(event::JobSubmitted{JobId{1}, o_.spec}, now_, survive(std::move(*writer).finish()));
    flush();
  }

  // Hello: the machine hears of the device, the device of its work; what it holds is offered again.
  void reconnect(DeviceId device) {
    durable_->step(event::DeviceReady{device, {100, 0, 0}}, now_);
    flush();
    const auto open = machine().assignment_of(device, now_);
    if (open && !parcels_.contains(device) && !working_.contains(device)) begin(device, *open);
    if (parcels_.contains(device)) queue_.push({now_, order_++, device});
  }

  void begin(DeviceId device, const protocol::Assignment& a) {
    if (working_.contains(device) && working_.at(device).id == a.id) return;
    working_[device] = a;
    Stream draw(o_.seed, "time", a.id.value, device.value);
    queue_.push({now_ + from_seconds(1 + 4 * draw.uniform()), order_++, device});
  }

  void turn() {
    const Time timer = machine().next_timer();
    if (queue_.empty() || timer <= queue_.top().at) {
      if (timer == kNever) {
        out_.problems.push_back("nothing is left to happen, and the job has not ended");
        ended_ = true;
        return;
      }
      now_ = std::max(now_, timer);
      durable_->step(event::Tick{}, now_);
      return flush();
    }
    const Due due = queue_.top();
    queue_.pop();
    now_ = std::max(now_, due.at);
    if (const auto work = working_.find(due.device); work != working_.end() && !parcels_.contains(due.device)) {
      parcels_[due.device] = pack(work->second, due.device, o_.floats);
      working_.erase(work);
    }
    if (parcels_.contains(due.device)) offer(due.device);
  }

  void offer(DeviceId device) {
    const Parcel parcel = parcels_.at(device);
    bool already = false;
    const protocol::Refusal refusal = machine().admissible(device, parcel.assignment.id, parcel.facts, &already);
    if (refusal != protocol::Refusal::kNone || already) return answered(device, parcel.assignment.id, refusal);
    std::uint32_t chunk = survive(stores_.bodies->open(parcel.assignment.id, parcel.object));
    protocol::ChunkCipher cipher(parcel.object);
    std::vector<std::byte> sealed;
    for (; chunk < parcel.object.chunks(); ++chunk) {
      const std::size_t begin = chunk * protocol::kChunkBytes;
      const std::span<const std::byte> plain(parcel.plain.data() + begin,
                                             std::min(protocol::kChunkBytes, parcel.plain.size() - begin));
      sealed.resize(parcel.object.sealed_bytes(chunk));
      cipher.seal(chunk, plain, sealed);
      survive(stores_.bodies->write(parcel.assignment.id, chunk, sealed));
    }
    survive(stores_.bodies->sync(parcel.assignment.id));
    durable_->step(event::UpdateReceived{device, parcel.assignment.id, parcel.facts}, now_);
    flush();
  }

  // The device hears: it forgets its parcel. From here a receipt is a promise.
  void answered(DeviceId device, AssignmentId id, protocol::Refusal refusal) {
    const auto parcel = parcels_.find(device);
    if (parcel == parcels_.end() || parcel->second.assignment.id != id) return;
    if (refusal == protocol::Refusal::kNone) promised_.insert(id);
    deltas_[id] = delta_of(parcel->second.assignment, o_.floats);
    parcels_.erase(parcel);
  }

  void flush() {
    Flushed flushed = survive(durable_->flush());
    std::vector<action::Fold> folds;
    for (const Action& action : flushed.actions) {
      if (const auto* answer = std::get_if<action::Answer>(&action))
        answered(answer->device, answer->assignment, answer->refusal);
      if (const auto* revoke = std::get_if<action::Revoke>(&action)) {
        working_.erase(revoke->device);
        answered(revoke->device, revoke->assignment, revoke->refusal);
      }
      if (const auto* discard = std::get_if<action::Discard>(&action))
        discarded_.insert(discard->assignments.begin(), discard->assignments.end());
      if (const auto* fold = std::get_if<action::Fold>(&action)) folds.push_back(*fold);
      if (const auto* assign = std::get_if<action::Assign>(&action)) begin(assign->device, assign->assignment);
    }
    survive(stores_.bodies->release(flushed.released));
    if (flushed.models_changed) keep_models();
    for (const action::Fold& fold : folds) fold_now(fold);
  }

  void keep_models() {
    std::vector<ModelRef> refs;
    for (const auto& [key, ref] : durable_->models()) refs.push_back(ref);
    survive(stores_.models->keep_only(refs));
  }

  void fold_now(const action::Fold& fold) {
    const SealedUpdates updates(*stores_.bodies);
    const auto previous = survive(stores_.models->open(durable_->models().at({fold.job, fold.version - 1})));
    auto writer =
        survive(stores_.models->create(fold.job, fold.version, aggregation::state_arrays(o_.spec.optimizer.name)));
    FoldOptions options;
    options.floats = o_.floats;
    options.plans = {protocol::UpdateLayout::whole(o_.floats)};
    options.scale =
        aggregation::SumScale::make(max_weight(o_.spec), o_.spec.limits.update_bound, max_updates(o_.spec)).value();
    options.optimizer = o_.spec.optimizer;
    options.workers = o_.fold_workers;
    const FoldResult result = survive(fold_updates(fold, options, updates, *previous, std::move(writer)));
    std::vector<AssignmentId> entries;
    for (const auto& entry : fold.entries) entries.push_back(entry.assignment);
    durable_->step_with_model(event::Committed{fold.job, fold.version, result.model.digest, result.norm}, now_,
                              result.model);
    attempts_[fold.version] =
        entries;  // the last attempt is the one that stays, if it is the same (checked by the digest)
    flush();
  }

  // After recovery: whatever a device holds a receipt for is folded already or pending with its body held.
  void check_promises() {
    std::set<AssignmentId> folded;
    const auto job = machine().job(JobId{1});
    if (!job) {
      if (!promised_.empty()) out_.problems.push_back("the job is gone, with receipts given");
      return;
    }
    for (const auto& [version, entries] : attempts_)
      if (version <= job->version) folded.insert(entries.begin(), entries.end());
    // The actions of a journaled event may have been lost with the coordinator: an ended job has given up what is not
    // folded.
    if (job->status != JobStatus::kRunning) discarded_.insert(promised_.begin(), promised_.end());
    const std::vector<AssignmentId> held = stores_.bodies->held();
    const std::set<AssignmentId> bodies(held.begin(), held.end());
    for (AssignmentId id : promised_)
      if (!folded.contains(id) && !discarded_.contains(id) && !(machine().needs_body(id) && bodies.contains(id)))
        out_.problems.push_back("assignment " + std::to_string(id.value) + " has a receipt and is lost");
  }

  void read_model() {
    const auto job = machine().job(JobId{1});
    out_.folds = attempts_;
    std::erase_if(out_.folds, [&](const auto& fold) { return fold.first > job->version; });
    const auto reader = survive(stores_.models->open(durable_->models().at({JobId{1}, job->version})));
    out_.model.resize(o_.floats);
    const auto bytes = std::as_writable_bytes(std::span(out_.model));
    survive(reader->read(reader->bytes() - bytes.size(), bytes));
  }

  void judge() {
    out_.acknowledged = promised_.size();
    std::map<AssignmentId, int> uses;
    for (const auto& [version, entries] : out_.folds)
      for (AssignmentId id : entries) ++uses[id];
    for (const auto& [id, n] : uses)
      if (n != 1)
        out_.problems.push_back("assignment " + std::to_string(id.value) + " was folded " + std::to_string(n) +
                                " times");
    for (AssignmentId id : promised_)
      if (!uses.contains(id) && !discarded_.contains(id))
        out_.problems.push_back("assignment " + std::to_string(id.value) + " has a receipt and was never counted");
  }

  struct Due {
    Time at{};
    std::uint64_t order = 0;
    DeviceId device;
    bool operator<(const Due& other) const { return std::tie(at, order) > std::tie(other.at, other.order); }
  };

  const CrashWorldOptions& o_;
  CrashOutcome out_;
  OpenStores stores_;
  std::optional<DurableMachine> durable_;
  Time now_{};
  std::uint64_t order_ = 0;
  bool ended_ = false;
  std::priority_queue<Due> queue_;
  std::map<DeviceId, protocol::Assignment> working_;
  std::map<DeviceId, Parcel> parcels_;
  std::set<AssignmentId> promised_, discarded_;
  std::map<AssignmentId, std::vector<float>> deltas_;
  std::map<Version, std::vector<AssignmentId>> attempts_;
};

}  // namespace

CrashOutcome run_crash_world(const CrashWorldOptions& options) { return World(options).run(); }

}  // namespace shoal::coordinator::testing
