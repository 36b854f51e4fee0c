// A world of virtual devices around one policy: the smallest driver that keeps the machine's promises to it.
//
// Devices train at their own speed with a jitter, folds take a given time, assignments may be lost and devices may go
// away. Whatever the policy does is recorded and checked: only idle devices get work, every update is folded once, one
// fold at a time.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <tuple>
#include <vector>

#include "base/rng.h"
#include "coordinator/policy.h"

namespace shoal::coordinator {

enum class SpeedKind { kHomogeneous, kNormal, kExponential };

// Seconds a step of each device, mean 1: all alike, normal with a standard deviation of 0.3 (positive), or exponential.
inline std::vector<double> draw_speeds(SpeedKind kind, std::size_t devices, std::uint64_t seed) {
  Stream draw(seed, "speeds");
  std::vector<double> speeds;
  while (speeds.size() < devices) {
    const double t = kind == SpeedKind::kHomogeneous ? 1
                     : kind == SpeedKind::kNormal    ? 1 + 0.3 * draw.normal()
                                                     : draw.exponential();
    if (t > 0) speeds.push_back(t);
  }
  return speeds;
}

// What `steps` steps take, each with a jitter of 5 %: the sum of that many normal draws is one normal draw.
inline double work_seconds(double speed, std::uint32_t steps, std::uint64_t seed, std::uint64_t device,
                           std::uint64_t nth) {
  Stream draw(seed, "jitter", device, nth);
  return speed * (steps + 0.05 * std::sqrt(steps) * draw.normal());
}

// One thing that a policy did.
struct TraceEvent {
  struct Part {
    std::uint64_t device = 0;
    Version base = 0;
    double weight = 0;  // with the fold's scale
  };
  Time at{};
  std::uint64_t device = 0;  // a dispatch
  std::uint32_t steps = 0;
  std::vector<Part> parts;  // a fold, by device and base
};
using Trace = std::vector<TraceEvent>;

inline bool same(const TraceEvent& a, const TraceEvent& b) {
  return a.at == b.at && a.device == b.device && a.steps == b.steps &&
         std::equal(a.parts.begin(), a.parts.end(), b.parts.begin(), b.parts.end(), [](const auto& p, const auto& q) {
           return p.device == q.device && p.base == q.base && std::abs(p.weight - q.weight) <= 1e-12;
         });
}

inline std::string describe(const TraceEvent& e) {
  std::string text = std::to_string(e.at.time_since_epoch().count()) + " ns: ";
  if (e.parts.empty())
    return text + "device " + std::to_string(e.device) + " gets " + std::to_string(e.steps) + " steps";
  text += "fold of";
  for (const auto& p : e.parts)
    text += " " + std::to_string(p.device) + "@" + std::to_string(p.base) + "x" + std::to_string(p.weight);
  return text;
}

class PolicyWorld {
 public:
  struct Options {
    std::vector<double> speeds;  // of device 1, 2, ...
    std::uint64_t seed = 1;
    Duration fold_time{};
    bool reload = false;                // carry the policy through save() and load() before every call
    std::uint32_t default_steps = 100;  // where the policy leaves them to the job
    // Seconds that a device's nth assignment (1, 2, ...) takes, nullopt if it is never heard of again; the default
    // draws jitter.
    std::function<std::optional<double>(std::uint64_t device, std::uint64_t nth, std::uint32_t steps)> work;
  };

  PolicyWorld(JobSpec spec, Options options) : spec_(std::move(spec)), options_(std::move(options)) {
    policy_ = make_policy(spec_);
    steps_done_.resize(options_.speeds.size() + 1);
    updates_.resize(options_.speeds.size() + 1);
    nth_.resize(options_.speeds.size() + 1);
  }

  // All devices come online, in turn.
  void start() {
    for (std::uint64_t d = 1; d <= options_.speeds.size(); ++d) arrive(d);
  }

  // At `at` the device disappears with its work, to come back after `away` (or never).
  void plan_outage(std::uint64_t device, Time at, std::optional<Duration> away) {
    events_.insert({at, Kind::kLost, device, 0});
    if (away) events_.insert({at + *away, Kind::kBack, device, 0});
  }

  // Other work takes the device at `at`, if it is idle then, for a while.
  void plan_errand(std::uint64_t device, Time at, Duration takes) {
    events_.insert({at, Kind::kErrand, device, 0});
    events_.insert({at + takes, Kind::kBack, device, 0});
  }

  void run_until(Time end) {
    while (!events_.empty() && std::get<0>(*events_.begin()) <= end && !testing::Test::HasFatalFailure()) {
      const auto [at, kind, a, b] = *events_.begin();
      events_.erase(events_.begin());
      now_ = at;
      handle(kind, a, b);
    }
    now_ = end;
  }

  // Local steps made, those of assignments on their way included, over those that were possible.
  double utilisation() const {
    double done = 0, possible = 0;
    for (std::size_t d = 1; d < steps_done_.size(); ++d) {
      done += steps_done_[d];
      possible += to_seconds(now_.time_since_epoch()) / options_.speeds[d - 1];
    }
    for (const auto& [id, job] : open_)
      if (job.ends > job.since)
        done += job.steps * std::min(1.0, to_seconds(now_ - job.since) / to_seconds(job.ends - job.since));
    return done / possible;
  }

  const Trace& trace() const { return trace_; }
  Version version() const { return version_; }
  const std::vector<std::uint64_t>& updates() const { return updates_; }  // received, by device
  std::size_t waiting() const { return received_.size(); }                // received, not folded
  std::set<std::uint64_t> idle() const {
    std::set<std::uint64_t> ids;
    for (DeviceId d : idle_) ids.insert(d.value);
    return ids;
  }
  double mean_staleness() const { return staleness_ / static_cast<double>(folded_); }
  double mean_fold() const { return static_cast<double>(folded_) / static_cast<double>(folds_); }
  std::uint64_t calls() const { return calls_; }

 private:
  // In the order in which they happen at one moment.
  enum class Kind { kCommit, kBack, kUpdate, kLost, kErrand, kLease, kTimer };
  struct Job {
    std::uint64_t device = 0;
    Version base = 0;
    std::uint32_t steps = 0;
    Time since{}, ends{};
  };

  // One call of the policy, and what it answers carried out.
  template <class Call>
  void turn(Call call) {
    if (options_.reload) {
      Encoder encoder;
      policy_->save(encoder);
      const std::string bytes = std::move(encoder).take();
      policy_ = make_policy(spec_);
      Decoder decoder(bytes);
      policy_->load(decoder);
      ASSERT_TRUE(decoder.at_end());
    }
    ++calls_;
    apply(call(*policy_, PolicyView{now_, version_, folding_, idle_}));
  }
  void offer() {
    turn([](Policy& policy, const PolicyView& view) { return policy.on_idle(view); });
  }

  void handle(Kind kind, std::uint64_t a, std::uint64_t b) {
    switch (kind) {
      case Kind::kCommit: return commit();
      case Kind::kBack: return arrive(a);
      case Kind::kUpdate: return update(AssignmentId{a});
      case Kind::kLost: return lose(a);
      case Kind::kErrand:
        ASSERT_TRUE(idle_.contains(DeviceId{a}));
        set_idle(DeviceId{a}, false);
        return offer();
      case Kind::kLease: return fail(AssignmentId{a}, true);
      case Kind::kTimer: {
        const auto timer = timers_.find(a);
        if (timer == timers_.end() || static_cast<std::uint64_t>(timer->second.time_since_epoch().count()) != b) return;
        timers_.erase(timer);
        return turn([a](Policy& policy, const PolicyView& view) { return policy.on_timer(a, view); });
      }
    }
  }

  void arrive(std::uint64_t device) {
    gone_.erase(device);
    set_idle(DeviceId{device}, true);
    offer();
  }

  void lose(std::uint64_t device) {
    gone_.insert(device);
    set_idle(DeviceId{device}, false);
    for (const auto& [id, job] : open_)
      if (job.device == device) return fail(id, false);
  }

  void fail(AssignmentId id, bool stays_online) {
    const auto found = open_.find(id);
    if (found == open_.end()) return;
    const DeviceId device{found->second.device};
    open_.erase(found);
    if (stays_online && !gone_.contains(device.value)) set_idle(device, true);
    turn([&](Policy& policy, const PolicyView& view) { return policy.on_failure(id, device, view); });
    offer();
  }

  void update(AssignmentId id) {
    const auto found = open_.find(id);
    if (found == open_.end()) return;
    const Job job = found->second;
    open_.erase(found);
    steps_done_[job.device] += job.steps;
    ++updates_[job.device];
    Entry entry;
    entry.assignment = id;
    entry.device = DeviceId{job.device};
    entry.base = job.base;
    entry.samples = 600;
    entry.steps = job.steps;
    entry.assigned = job.since;
    entry.received = now_;
    received_.emplace(id, entry);
    set_idle(entry.device, true);
    turn([&](Policy& policy, const PolicyView& view) { return policy.on_update(entry, view); });
    offer();
  }

  void commit() {
    folding_ = false;
    ++version_;
    turn([](Policy& policy, const PolicyView& view) { return policy.on_committed(view); });
    offer();
  }

  void apply(const Decisions& d) {
    for (const auto& [id, refusal] : d.refuse) received_.erase(id);
    for (const auto& [id, refusal] : d.revoke) {
      const auto found = open_.find(id);
      if (found == open_.end()) continue;
      const DeviceId device{found->second.device};
      open_.erase(found);
      set_idle(device, true);
    }
    if (d.fold) begin_fold(*d.fold);
    for (const Dispatch& dispatch : d.assign) assign(dispatch);
    for (std::uint64_t key : d.cancel) timers_.erase(key);
    for (const PolicyTimer& timer : d.set) {
      timers_[timer.key] = timer.at;
      events_.insert(
          {timer.at, Kind::kTimer, timer.key, static_cast<std::uint64_t>(timer.at.time_since_epoch().count())});
    }
    if (d.fold && options_.fold_time == Duration::zero()) commit();
  }

  void begin_fold(const Aggregate& fold) {
    ASSERT_FALSE(folding_) << "a second fold at a time";
    ASSERT_FALSE(fold.entries.empty());
    ASSERT_GT(fold.scale, 0);
    folding_ = true;
    ++folds_;
    TraceEvent event;
    event.at = now_;
    for (const WeightedEntry& e : fold.entries) {
      const auto entry = received_.find(e.assignment);
      ASSERT_NE(entry, received_.end()) << "an update is folded twice";
      event.parts.push_back({entry->second.device.value, entry->second.base, e.weight * fold.scale});
      staleness_ += static_cast<double>(version_ - entry->second.base);
      ++folded_;
      received_.erase(entry);
    }
    std::sort(event.parts.begin(), event.parts.end(),
              [](const auto& a, const auto& b) { return std::tie(a.device, a.base) < std::tie(b.device, b.base); });
    trace_.push_back(std::move(event));
    if (options_.fold_time > Duration::zero()) events_.insert({now_ + options_.fold_time, Kind::kCommit, 0, 0});
  }

  void assign(const Dispatch& dispatch) {
    const std::uint64_t device = dispatch.device.value;
    ASSERT_TRUE(idle_.contains(dispatch.device)) << "device " << device << " is not idle";
    ASSERT_GT(dispatch.lease, Duration::zero());
    set_idle(dispatch.device, false);
    const AssignmentId id{++last_assignment_};
    const std::uint32_t steps = dispatch.steps == 0 ? options_.default_steps : dispatch.steps;
    const std::uint64_t nth = ++nth_[device];
    const std::optional<double> seconds =
        options_.work ? options_.work(device, nth, steps)
                      : std::optional(work_seconds(options_.speeds[device - 1], steps, options_.seed, device, nth));
    Job job{device, version_, steps, now_, now_};
    if (seconds) {
      job.ends = now_ + from_seconds(*seconds);
      events_.insert({job.ends, Kind::kUpdate, id.value, 0});
    }
    events_.insert({saturating_add(now_, dispatch.lease), Kind::kLease, id.value, 0});
    open_.emplace(id, job);
    TraceEvent event;
    event.at = now_;
    event.device = device;
    event.steps = steps;
    trace_.push_back(std::move(event));
    policy_->on_assigned(id, dispatch, {now_, version_, folding_, idle_});
  }

  void set_idle(DeviceId device, bool idle) {
    if (idle) {
      idle_.insert(device);
    } else {
      idle_.erase(device);
    }
  }

  JobSpec spec_;
  Options options_;
  std::unique_ptr<Policy> policy_;
  Time now_{};
  Version version_ = 0;
  bool folding_ = false;
  DeviceSet idle_;
  std::set<std::uint64_t> gone_;
  std::set<std::tuple<Time, Kind, std::uint64_t, std::uint64_t>> events_;
  std::map<std::uint64_t, Time> timers_;
  std::map<AssignmentId, Job> open_;
  std::map<AssignmentId, Entry> received_;
  std::uint64_t last_assignment_ = 0;
  Trace trace_;
  std::vector<double> steps_done_;
  std::vector<std::uint64_t> updates_, nth_;
  double staleness_ = 0;
  std::uint64_t folded_ = 0, folds_ = 0, calls_ = 0;
};

}  // namespace shoal::coordinator
