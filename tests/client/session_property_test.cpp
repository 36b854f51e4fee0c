// Random lives of a session: whatever the network, the coordinator and the shell do, no work overlaps another and no
// finished update is lost before its answer.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "client/session.h"

namespace shoal::client {
namespace {

using protocol::Refusal;
namespace message = protocol::message;
using namespace std::chrono_literals;

// One session, the shell around it, a disk that outlives both, and a coordinator that says anything.
class World {
 public:
  explicit World(std::uint64_t seed) : random_(seed, "world"), seed_(seed) { restart(); }

  // One random happening.
  void happen() {
    now_ += from_seconds(random_.exponential());
    tick_if_due();
    switch (random_.below(12)) {
      case 0:
      case 1:
      case 2:
      case 3: finish_work(random_.below(4) > 0); break;
      case 4:
        now_ = std::max(now_, std::min(session_->next_timer(), now_ + 1h));
        tick_if_due();
        break;
      case 5:
        if (channel_ != Channel::kNone) feed(event::Disconnected{false, "cut"});
        break;
      case 6:
        if (random_.below(20) == 0) restart();
        break;
      default:
        if (channel_ == Channel::kDialled) {
          feed(event::Connected{});
        } else if (channel_ == Channel::kOpen) {
          hear(anything());
        }
        break;
    }
    if (ended_) restart();
  }

  // From here on everything works and the coordinator answers. True when nothing is left unanswered in the end.
  bool settles() {
    for (int i = 0; i < 400 && (disk_ || session_->phase() != Phase::kIdle); ++i) {
      if (ended_) restart();
      if (channel_ == Channel::kDialled) {
        feed(event::Connected{});
      } else if (!inbox_.empty()) {
        const auto m = inbox_.front();
        inbox_.erase(inbox_.begin());
        answer(m);
      } else if (work_) {
        finish_work(true);
      } else {
        now_ = std::max(now_, session_->next_timer());
        tick_if_due();
      }
    }
    return !disk_ && session_->phase() == Phase::kIdle;
  }

  std::size_t sealed() const { return sealed_.size(); }
  std::size_t received() const { return received_; }

 private:
  enum class Channel { kNone, kDialled, kOpen };

  void restart() {
    SessionOptions options;
    options.seed = seed_;
    options.unsent = disk_;
    session_.emplace(options, now_);
    channel_ = Channel::kNone;
    work_.reset();
    stale_.clear();
    inbox_.clear();
    ended_ = false;
  }

  void tick_if_due() {
    if (now_ < session_->next_timer()) return;
    feed(event::Tick{});
    EXPECT_TRUE(ended_ || session_->next_timer() > now_) << "a tick must make progress";
  }

  void feed(SessionEvent event) {
    if (std::holds_alternative<event::Connected>(event)) channel_ = Channel::kOpen;
    if (std::holds_alternative<event::Disconnected>(event)) channel_ = Channel::kNone;
    for (SessionAction& a : session_->step(event, now_)) {
      ASSERT_FALSE(ended_) << "nothing follows an exit";
      std::visit([this](auto& one) { carry_out(one); }, a);
    }
  }
  void hear(protocol::CoordinatorMessage m) {
    std::visit([this](const auto& one) { note(one); }, m);
    feed(event::Received{std::move(m)});
  }

  // ---- the shell ----

  template <class Work>
  void start(const Work& work) {
    ASSERT_FALSE(work_) << "two works at once";
    work_ = work;
  }
  void carry_out(const action::Connect&) { channel_ = Channel::kDialled; }
  void carry_out(const action::Disconnect&) { channel_ = Channel::kNone; }
  void carry_out(const action::Send& a) {
    ASSERT_EQ(channel_, Channel::kOpen);
    inbox_.push_back(a.message);
  }
  void carry_out(const action::Enrolled&) { FAIL() << "nobody redeemed"; }
  void carry_out(const action::DropUpdate& a) {
    const bool was_answered = answered_.contains(a.assignment);
    ASSERT_TRUE(was_answered) << "update " << a.assignment.value << " was dropped without an answer";
    if (disk_ && disk_->assignment == a.assignment) disk_.reset();
  }
  void carry_out(const action::CancelWork& a) {
    ASSERT_TRUE(work_);
    ASSERT_EQ(number(*work_), a.work);
    stale_.push_back(*work_);  // it may still answer
    work_.reset();
  }
  void carry_out(const action::Exit&) { ended_ = true; }
  void carry_out(const action::Log&) {}
  template <class Work>
  void carry_out(const Work& work) {
    start(work);
  }

  using Work = std::variant<action::FindModel, action::DownloadModel, action::Train, action::Evaluate, action::Seal,
                            action::Upload>;
  static WorkId number(const Work& work) {
    return std::visit([](const auto& w) { return w.work; }, work);
  }

  void finish_work(bool well) {
    // The worker is one thread: what was cancelled ends before what came after it.
    Work work;
    const bool cancelled = !stale_.empty();
    if (cancelled) {
      work = stale_.front();
      stale_.erase(stale_.begin());
    } else if (work_) {
      work = *std::exchange(work_, std::nullopt);
    } else {
      return;
    }
    if (!cancelled && std::holds_alternative<action::Seal>(work))
      answered_.erase(std::get<action::Seal>(work).assignment);
    if (well)
      std::visit([this](const auto& w) { finish(w); }, work);
    else
      feed(event::WorkFailed{number(work), "failed"});
  }
  void finish(const action::FindModel& w) {
    if (random_.below(2) == 0)
      feed(event::ModelReady{w.work});
    else
      feed(event::ModelMissing{w.work});
  }
  void finish(const action::DownloadModel& w) { feed(event::ModelReady{w.work}); }
  void finish(const action::Train& w) { feed(event::TrainingFinished{w.work, {}}); }
  void finish(const action::Evaluate& w) { feed(event::EvaluationFinished{w.work, {1, 1, 0.5}}); }
  void finish(const action::Seal& w) {
    disk_ = UnsentUpdate{w.assignment, w.facts, {w.assignment.value, 100, protocol::CipherSuite::kAes256Gcm, {}}};
    sealed_.insert(w.assignment);
    feed(event::UpdateSealed{w.work, w.facts, disk_->object});
  }
  void finish(const action::Upload& w) { feed(event::UploadFinished{w.work}); }

  // ---- the coordinator ----

  AssignmentId some_assignment() {
    return AssignmentId{random_.below(4) == 0 ? ++last_assignment_
                                              : std::max<std::uint64_t>(1, last_assignment_ - random_.below(3))};
  }
  message::Assign some_work(AssignmentId id) {
    message::Assign a;
    a.assignment.id = id;
    a.assignment.kind = id.value % 3 == 0 ? protocol::TaskKind::kEvaluate : protocol::TaskKind::kTrain;
    a.assignment.lease = from_seconds(60 * random_.exponential());
    return a;
  }
  message::Welcome welcome() {
    message::Welcome w;
    w.heartbeat = 10s;
    w.reconnect_window = 5s;
    return w;
  }
  protocol::CoordinatorMessage anything() {
    const AssignmentId id = some_assignment();
    switch (random_.below(10)) {
      case 0:
      case 1: return welcome();
      case 2:
        return message::Refused{protocol::kRefusalTexts[random_.below(protocol::kRefusalTexts.size())].refusal,
                                random_.below(3) == 0 ? AssignmentId{} : id, "",
                                from_seconds(static_cast<double>(random_.below(3)))};
      case 3:
      case 4: return some_work(id);
      case 5: return message::ModelTicket{id, {}, {}};
      case 6: return message::UploadTicket{id, {}, static_cast<std::uint32_t>(random_.below(4))};
      case 7: return message::Receipt{id};
      case 8: return message::Revoke{id, Refusal::kRoundAbandoned};
      default: return message::Drain{3s};
    }
  }
  // What an answer to an update is.
  void note(const message::Receipt& m) { answered_.insert(m.assignment); }
  void note(const message::Revoke& m) { answered_.insert(m.assignment); }
  void note(const message::Refused& m) {
    const bool passing = m.refusal == Refusal::kStorageFull || m.refusal == Refusal::kBusy ||
                         (m.refusal == Refusal::kUnsealable && m.retry_after > Duration::zero());
    if (!passing) answered_.insert(m.assignment);
  }
  template <class Other>
  void note(const Other&) {}

  // The well-behaved coordinator of settles().
  void answer(const protocol::DeviceMessage& m) {
    if (std::holds_alternative<message::Hello>(m)) hear(welcome());
    if (const auto* fetch = std::get_if<message::FetchModel>(&m)) hear(message::ModelTicket{fetch->assignment, {}, {}});
    if (const auto* done = std::get_if<message::EvaluationDone>(&m)) hear(message::Receipt{done->assignment});
    if (const auto* offer = std::get_if<message::OfferUpdate>(&m)) {
      if (uploads_.insert(offer->assignment).second) {
        hear(message::UploadTicket{offer->assignment, {}, 0});
      } else {
        ++received_;
        hear(message::Receipt{offer->assignment});
      }
    }
  }

  Stream random_;
  std::uint64_t seed_;
  Time now_{};
  std::optional<Session> session_;
  Channel channel_ = Channel::kNone;
  bool ended_ = false;
  std::optional<Work> work_;
  std::vector<Work> stale_;
  std::optional<UnsentUpdate> disk_;
  std::vector<protocol::DeviceMessage> inbox_;
  std::set<AssignmentId> sealed_, answered_, uploads_;
  std::size_t received_ = 0;
  std::uint64_t last_assignment_ = 1;
};

TEST(SessionProperties, NothingOverlapsAndNothingFinishedIsLost) {
  std::size_t sealed = 0, received = 0;
  for (std::uint64_t seed = 0; seed < 3000; ++seed) {
    World world(seed);
    for (int i = 0; i < 400; ++i) {
      world.happen();
      if (::testing::Test::HasFailure()) FAIL() << "seed " << seed << ", happening " << i;
    }
    ASSERT_TRUE(world.settles()) << "seed " << seed;
    if (::testing::Test::HasFailure()) FAIL() << "seed " << seed << ", settling";
    sealed += world.sealed();
    received += world.received();
  }
  // The property is worth something only if the lives reach it.
  EXPECT_GT(sealed, 1000u);
  EXPECT_GT(received, 200u);
}

TEST(SessionProperties, TheSameEventsGiveTheSameActions) {
  const auto times = [] {
    SessionOptions options;
    options.seed = 5;
    Session session(options, Time{});
    std::vector<Time> due;
    Time now{};
    for (int i = 0; i < 50; ++i) {
      now = session.next_timer();
      (void)session.step(event::Tick{}, now);
      (void)session.step(event::Disconnected{false, "cut"}, now);
      due.push_back(session.next_timer());
    }
    return due;
  };
  EXPECT_EQ(times(), times());
}

}  // namespace
}  // namespace shoal::client
