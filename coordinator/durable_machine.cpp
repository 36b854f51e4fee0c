#include "coordinator/durable_machine.h"

#include "base/check.h"

namespace shoal::coordinator {

std::uint64_t hash_of(const Actions& actions) {
  std::uint64_t h = 0xCBF29CE484222325u;
  for (unsigned char c : encode_state(actions)) h = (h ^ c) * 0x100000001B3u;
  return h;
}

Result<DurableMachine> DurableMachine::recover(Journal& journal) {
  SHOAL_TRY_ASSIGN(Recovered recovered, journal.recover());
  DurableMachine durable(journal);
  if (!recovered.snapshot.empty()) {
    SHOAL_TRY_ASSIGN(durable.machine_, Machine::load(recovered.snapshot));
  }
  durable.sequence_ = recovered.sequence;
  for (const JournalRecord& record : recovered.records) {
    if (record.sequence != durable.sequence_ + 1)
      return Error(ErrorCode::kCorrupt, "the journal has a gap after event " + std::to_string(durable.sequence_));
    if (hash_of(durable.machine_.step(record.event, record.now)) != record.actions)
      return Error(ErrorCode::kCorrupt, "event " + std::to_string(record.sequence) +
                                            " of the journal does not replay to the actions that it had");
    durable.sequence_ = record.sequence;
  }
  durable.since_commit_ = recovered.records.size();
  durable.recovered_at_ = recovered.now;
  for (ModelRef& ref : recovered.models) durable.models_.emplace(std::pair{ref.job, ref.version}, std::move(ref));
  return durable;
}

void DurableMachine::step_and_hold(const Event& event, Time now) {
  Actions actions = machine_.step(event, now);
  records_.push_back({++sequence_, now, event, hash_of(actions)});
  for (Action& action : actions) {
    if (const auto* discard = std::get_if<action::Discard>(&action))
      held_.released.insert(held_.released.end(), discard->assignments.begin(), discard->assignments.end());
    if (const auto* drop = std::get_if<action::DropVersions>(&action)) {
      SHOAL_CHECK(commit_.has_value(), "versions are dropped only by a commit");
      for (Version version : drop->versions) {
        commit_->dropped.emplace_back(drop->job, version);
        models_.erase({drop->job, version});
      }
    }
    held_.actions.push_back(std::move(action));
  }
}

void DurableMachine::step(const Event& event, Time now) { step_and_hold(event, now); }

void DurableMachine::step_with_model(const Event& event, Time now, ModelRef model) {
  if (!commit_) commit_.emplace();
  if (const auto* committed = std::get_if<event::Committed>(&event)) {
    const auto summary = machine_.job(committed->job);
    SHOAL_CHECK(summary.has_value(), "a commit for an unknown job");
    for (const action::Fold& fold : machine_.open_folds()) {
      if (fold.job != committed->job || summary->spec.retain_updates) continue;
      for (const auto& entry : fold.entries) {
        commit_->released.push_back(entry.assignment);
        held_.released.push_back(entry.assignment);
      }
    }
  }
  models_.insert_or_assign({model.job, model.version}, model);
  commit_->added.push_back(std::move(model));
  held_.models_changed = true;
  step_and_hold(event, now);
}

Status DurableMachine::checkpoint(Time now) {
  SHOAL_CHECK(!has_unwritten(), "a checkpoint of what is not durable");
  Commit commit;
  commit.sequence = sequence_;
  commit.snapshot = machine_.save();
  commit.now = now;
  SHOAL_TRY(journal_->commit(commit));
  since_commit_ = 0;
  return {};
}

Result<Flushed> DurableMachine::flush() {
  if (commit_) {
    commit_->sequence = sequence_;
    commit_->snapshot = machine_.save();
    commit_->now = records_.back().now;
    commit_->records = records_;
    SHOAL_TRY(journal_->commit(*commit_));
    since_commit_ = 0;
    commit_.reset();
    records_.clear();
  } else if (!records_.empty()) {
    SHOAL_TRY(journal_->append(records_));
    since_commit_ += records_.size();
    const Time newest = records_.back().now;
    records_.clear();
    if (since_commit_ >= kMostEvents) SHOAL_TRY(checkpoint(newest));
  }
  return std::exchange(held_, {});
}

}  // namespace shoal::coordinator
