#include "simulator/replay.h"

#include <gtest/gtest.h>

#include <deque>
#include <vector>

#include "coordinator/durable_machine.h"

namespace shoal::simulator {
namespace {

namespace action = coordinator::action;
namespace event = coordinator::event;
using coordinator::JournalRecord;

constexpr JobId kJob{1};

// A coordinator's life as a journal: ten devices, rounds of four, every update comes.
class Life {
 public:
  Life() {
    for (std::uint64_t d = 1; d <= 10; ++d) pending_.push_back(event::DeviceReady{DeviceId{d}, {.train_samples = 50}});
    coordinator::JobSpec spec;
    spec.rounds = 5;
    spec.fedavg.cohort = 4;
    pending_.push_back(event::JobSubmitted{kJob, spec});
    while (!pending_.empty()) {
      step(pending_.front());
      pending_.pop_front();
    }
  }

  std::vector<JournalRecord> records;
  std::string snapshot;  // after the records up to `snapshot_sequence`
  std::uint64_t snapshot_sequence = 0;

 private:
  void step(const coordinator::Event& event) {
    now_ += std::chrono::seconds(1);
    const coordinator::Actions actions = machine_.step(event, now_);
    records.push_back({records.size() + 1, now_, event, coordinator::hash_of(actions)});
    if (std::holds_alternative<event::Committed>(event) && snapshot.empty()) {
      snapshot = machine_.save();
      snapshot_sequence = records.size();
    }
    for (const coordinator::Action& a : actions) {
      if (const auto* assign = std::get_if<action::Assign>(&a)) {
        protocol::UpdateFacts facts;
        facts.digest.bytes[0] = static_cast<std::uint8_t>(assign->assignment.id.value);
        facts.samples = 50;
        facts.steps = 5;
        pending_.push_back(event::UpdateReceived{assign->device, assign->assignment.id, facts});
      } else if (const auto* fold = std::get_if<action::Fold>(&a)) {
        pending_.push_back(event::Committed{fold->job, fold->version, {}, 1.0});
      }
    }
  }

  coordinator::Machine machine_;
  std::deque<coordinator::Event> pending_;
  Time now_{};
};

TEST(Replay, FindsTheActionsThatWereJournaled) {
  const Life life;
  ASSERT_GT(life.records.size(), 30u);
  Replay replay;
  ASSERT_TRUE(replay.begin("", 0).ok());
  for (const JournalRecord& record : life.records) ASSERT_TRUE(replay.step(record).ok());
  EXPECT_FALSE(replay.difference());
  EXPECT_EQ(replay.events(), life.records.size());
  EXPECT_EQ(replay.machine().job(kJob)->version, 5u);
}

TEST(Replay, BeginsWithASnapshot) {
  const Life life;
  Replay replay;
  ASSERT_TRUE(replay.begin(life.snapshot, life.snapshot_sequence).ok());
  for (std::size_t i = life.snapshot_sequence; i < life.records.size(); ++i)
    ASSERT_TRUE(replay.step(life.records[i]).ok());
  EXPECT_FALSE(replay.difference());
  EXPECT_EQ(replay.machine().job(kJob)->version, 5u);
}

TEST(Replay, NamesTheFirstDifference) {
  Life life;
  life.records[20].actions ^= 1;
  life.records[25].actions ^= 1;
  Replay replay;
  ASSERT_TRUE(replay.begin("", 0).ok());
  for (const JournalRecord& record : life.records) ASSERT_TRUE(replay.step(record).ok());
  ASSERT_TRUE(replay.difference());
  EXPECT_EQ(replay.difference()->sequence, 21u);
  EXPECT_EQ(replay.difference()->event, kind_of(life.records[20].event));
  EXPECT_EQ(replay.difference()->replayed, life.records[20].actions ^ 1);
}

TEST(Replay, RefusesGapsAndForeignSnapshots) {
  const Life life;
  Replay replay;
  ASSERT_TRUE(replay.begin("", 0).ok());
  ASSERT_TRUE(replay.step(life.records[0]).ok());
  EXPECT_EQ(replay.step(life.records[2]).error().code(), ErrorCode::kCorrupt);
  EXPECT_FALSE(Replay().begin("not a snapshot", 3).ok());
}

}  // namespace
}  // namespace shoal::simulator
