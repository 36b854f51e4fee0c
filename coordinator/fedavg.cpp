#include "coordinator/fedavg.h"

#include <algorithm>
#include <cmath>

#include "base/rng.h"
#include "coordinator/pause.h"

namespace shoal::coordinator {
namespace {

using protocol::Refusal;

constexpr Duration kFirstDeadline = std::chrono::minutes(15);  // nothing is known about the devices yet
constexpr Duration kShortestDeadline = std::chrono::seconds(10);
constexpr Duration kLongestDeadline = std::chrono::hours(24);
constexpr int kDeadlineMargin = 4;  // times what the slowest recent device took

}  // namespace

// The longest time to wait for an update: the user's, or derived from what devices took before.
Duration FedAvg::round_time() const {
  if (spec_.fedavg.deadline > Duration::zero()) return spec_.fedavg.deadline;
  if (state_.slowest == Duration::zero()) return kFirstDeadline;
  return std::clamp(state_.slowest > kLongestDeadline ? kLongestDeadline : state_.slowest * kDeadlineMargin,
                    kShortestDeadline, kLongestDeadline);
}

// An assignment outlives its round's deadline: a little, so that the deadline speaks first; or by as many rounds as a
// late update stays welcome.
Duration FedAvg::lease(Duration until_deadline) const {
  if (spec_.fedavg.late == LateRule::kRefuse) return until_deadline + std::chrono::seconds(1);
  return until_deadline + round_time() * spec_.fedavg.late_staleness;
}

bool FedAvg::may_open(const PolicyView& view) const {
  return !state_.open && !view.folding && view.now >= state_.not_before;
}

// Devices that the next round would like to invite.
std::size_t FedAvg::invited() const {
  const std::size_t carried = std::min<std::size_t>(state_.entries.size(), spec_.fedavg.cohort);
  const auto missing = static_cast<double>(spec_.fedavg.cohort - carried);
  return std::max<std::size_t>(static_cast<std::size_t>(std::ceil(missing * spec_.fedavg.over_selection)), 1);
}

// Devices without which it does not open. Those of carried updates take part already.
std::size_t FedAvg::needed() const {
  const std::size_t least = spec_.fedavg.min_devices;
  if (least == 0) return invited();
  return least > state_.entries.size() ? least - state_.entries.size() : 1;
}

std::size_t FedAvg::free_devices(const PolicyView& view) const {
  return view.idle.size() -
         static_cast<std::size_t>(std::count_if(state_.entries.begin(), state_.entries.end(),
                                                [&](const Entry& e) { return view.idle.contains(e.device); }));
}

DeviceSet FedAvg::without_update(const DeviceSet& idle) const {
  DeviceSet devices = idle;
  for (const Entry& entry : state_.entries) devices.erase(entry.device);
  return devices;
}

std::size_t FedAvg::devices_wanted(const PolicyView& view) const {
  return may_open(view) && free_devices(view) < needed() ? needed() : 0;
}

Decisions FedAvg::on_idle(const PolicyView& view) {
  if (!may_open(view) || free_devices(view) < needed()) return {};
  const DeviceSet devices = without_update(view.idle);
  const std::size_t n = std::min(invited(), devices.size());
  const auto updates = static_cast<std::uint32_t>(state_.entries.size() + n);

  Decisions decisions;
  state_.open = true;
  state_.cohort = std::min(spec_.fedavg.cohort, updates);
  state_.replaced = 0;
  ++state_.round;
  state_.deadline = saturating_add(view.now, round_time());
  Stream draw(spec_.seed, "cohort", state_.round);
  for (std::uint64_t i : draw.sample(devices.size(), n))
    decisions.assign.push_back({devices[i], 0, lease(round_time())});
  decisions.set.push_back({state_.round, state_.deadline});
  decisions.opened = true;
  return decisions;
}

void FedAvg::on_assigned(AssignmentId assignment, const Dispatch&, const PolicyView&) {
  state_.outstanding.insert(assignment);
}

Decisions FedAvg::on_update(const Entry& entry, const PolicyView& view) {
  state_.slowest = std::max(entry.received - entry.assigned, state_.slowest - state_.slowest / 64);
  if (state_.outstanding.erase(entry.assignment) > 0) {
    state_.entries.push_back(entry);
    return settle(view, false);
  }
  Decisions decisions;
  state_.stragglers.erase(entry.assignment);
  if (spec_.fedavg.late == LateRule::kRefuse || state_.late.size() >= max_updates(spec_) / 2) {
    decisions.refuse.emplace_back(entry.assignment, Refusal::kLate);
  } else if (view.version - entry.base > spec_.fedavg.late_staleness) {
    decisions.refuse.emplace_back(entry.assignment, Refusal::kTooStale);
  } else {
    state_.late.push_back(entry);
  }
  return decisions;
}

Decisions FedAvg::on_failure(AssignmentId assignment, DeviceId, const PolicyView& view) {
  state_.stragglers.erase(assignment);
  if (state_.outstanding.erase(assignment) == 0) return {};
  if (!state_.open || view.now >= state_.deadline || state_.replaced >= state_.cohort || free_devices(view) == 0)
    return settle(view, false);
  // A replacement trains within what is left of the deadline.
  ++state_.replaced;
  const DeviceSet devices = without_update(view.idle);
  Stream draw(spec_.seed, "replacement", assignment.value);
  Decisions decisions;
  decisions.assign.push_back({devices[draw.below(devices.size())], 0, lease(state_.deadline - view.now)});
  return decisions;
}

Decisions FedAvg::on_timer(std::uint64_t key, const PolicyView& view) {
  if (!state_.open || key != state_.round) return {};
  return settle(view, true);
}

Decisions FedAvg::on_committed(const PolicyView&) { return {}; }

// Closes or abandons the open round if it is time to.
Decisions FedAvg::settle(const PolicyView& view, bool out_of_time) {
  if (!state_.open) return {};
  const std::size_t received = state_.entries.size();
  if (received >= state_.cohort) return close(view);
  if (!out_of_time && !state_.outstanding.empty()) return {};
  const double enough = std::max(1.0, spec_.fedavg.min_fraction * state_.cohort);
  return static_cast<double>(received) >= enough ? close(view) : abandon(view);
}

Decisions FedAvg::close(const PolicyView& view) {
  Decisions decisions;
  std::vector<Entry> entries = std::move(state_.entries);
  std::vector<double> factors;
  double total = 0;
  const auto add = [&](const Entry& entry, double staleness) {
    factors.push_back(static_cast<double>(entry.samples) * staleness);
    total += static_cast<double>(entry.samples);
  };
  for (const Entry& entry : entries) add(entry, 1.0);
  for (const Entry& entry : state_.late) {
    if (view.version - entry.base > spec_.fedavg.late_staleness) {
      decisions.refuse.emplace_back(entry.assignment, Refusal::kTooStale);
      continue;
    }
    add(entry, staleness_weight(view.version, entry.base, 0.5));
    entries.push_back(entry);
  }
  decisions.fold = weighted_mean(spec_, entries, factors, total);
  decisions.fold->outstanding = static_cast<std::uint32_t>(state_.outstanding.size());
  if (spec_.fedavg.late == LateRule::kKeep) {
    state_.stragglers.insert(state_.outstanding.begin(), state_.outstanding.end());
  } else {
    for (AssignmentId id : state_.outstanding) decisions.revoke.emplace_back(id, Refusal::kLate);
  }
  decisions.cancel.push_back(state_.round);
  state_.open = false;
  state_.abandoned = 0;
  state_.entries.clear();
  state_.late.clear();
  state_.outstanding.clear();
  return decisions;
}

Decisions FedAvg::abandon(const PolicyView& view) {
  Decisions decisions;
  state_.not_before = saturating_add(view.now, pause_after(++state_.abandoned));
  for (AssignmentId id : state_.outstanding) decisions.revoke.emplace_back(id, Refusal::kRoundAbandoned);
  decisions.set.push_back(
      {state_.round, state_.not_before});  // replaces the deadline; the machine then offers devices again
  decisions.abandoned = true;
  state_.open = false;
  state_.outstanding.clear();
  return decisions;
}

}  // namespace shoal::coordinator
