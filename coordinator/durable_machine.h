// The machine with its journal: actions come out only when the events that caused them are durable.
//
// Service and crash tests drive this object; it holds no socket and no clock. Owner thread only.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "coordinator/machine.h"
#include "coordinator/store.h"

namespace shoal::coordinator {

// FNV-1a over the encoded actions: what a replay compares.
std::uint64_t hash_of(const Actions& actions);

// What has become durable: to be carried out now.
struct Flushed {
  Actions actions;
  std::vector<AssignmentId> released;  // bodies that were folded or discarded: give their space back
  bool models_changed = false;         // files that models() does not name may go
};

class DurableMachine {
 public:
  // Snapshot plus journaled events replayed through step(). kCorrupt when a replayed event gives other actions than it
  // gave live. `journal` outlives the object.
  static Result<DurableMachine> recover(Journal& journal);

  const Machine& machine() const { return machine_; }
  // The latest time that was persisted; time goes on from here after a restart.
  Time recovered_at() const { return recovered_at_; }
  const std::map<std::pair<JobId, Version>, ModelRef>& models() const { return models_; }

  // Steps an event. Its actions wait for flush().
  void step(const Event& event, Time now);

  // Steps an event that brings a new model version into being (event::JobSubmitted, event::Committed): event, snapshot,
  // model reference, dropped versions and released bodies become durable in one atomic commit, by flush().
  void step_with_model(const Event& event, Time now, ModelRef model);

  // Makes everything stepped so far durable, and returns its actions. On an error (kExhausted: the disk is full)
  // nothing is returned and nothing is lost: call again later.
  Result<Flushed> flush();

  // Writes a snapshot, so that no journaled event is needed any more. Nothing may be unwritten (checked).
  Status checkpoint(Time now);

  // flush() does so by itself after this many events without a commit: a fleet that comes and goes while no job runs
  // must not make the journal and the next recovery longer and longer.
  static constexpr std::uint64_t kMostEvents = 20000;

  bool has_unwritten() const { return !records_.empty() || commit_.has_value(); }

 private:
  explicit DurableMachine(Journal& journal) : journal_(&journal) {}
  void step_and_hold(const Event& event, Time now);

  Journal* journal_;
  Machine machine_;
  Time recovered_at_{};
  std::uint64_t sequence_ = 0;
  std::uint64_t since_commit_ = 0;  // events in the journal that the snapshot does not cover
  std::map<std::pair<JobId, Version>, ModelRef> models_;
  std::vector<JournalRecord> records_;  // stepped, not durable
  std::optional<Commit> commit_;        // covers all of records_
  Flushed held_;
};

}  // namespace shoal::coordinator
