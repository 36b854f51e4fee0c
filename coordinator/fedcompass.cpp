#include "coordinator/fedcompass.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "base/rng.h"

namespace shoal::coordinator {
namespace {

constexpr double kFastest = 1e-9;             // seconds a step: a measured speed is never 0, which stands for unknown
constexpr double kDeathFactor = 2;            // times the latest arrival
constexpr double kShortestLease = 10;         // seconds: a hiccup is no death
constexpr double kFirstLease = 3600;          // seconds, for devices of unknown speed; nobody waits for them
constexpr std::uint32_t kMostDoublings = 10;  // of that, after failures

// Rounded up by a nanosecond, so that the device which sets a group's time makes it in that time.
Duration time_for(double steps, double speed) { return from_seconds(std::min(steps * speed, 1e9)) + Duration(1); }

}  // namespace

Decisions FedCompass::on_idle(const PolicyView& view) {
  Decisions decisions;
  give_up_taken(view);
  fill_places(view, decisions);
  return decisions;
}

void FedCompass::on_assigned(AssignmentId assignment, const Dispatch& dispatch, const PolicyView&) {
  state_.clients.at(dispatch.device).assignment = assignment;
}

Decisions FedCompass::on_update(const Entry& entry, const PolicyView& view) {
  Client& client = state_.clients.at(entry.device);
  SHOAL_CHECK(client.place == Place::kTraining && client.assignment == entry.assignment,
              "an update of an unknown assignment");
  measure(client, entry);
  Decisions decisions;
  const auto found = state_.groups.find(client.group);
  if (found == state_.groups.end()) {
    client.place = Place::kHeld;
    state_.pending.push_back({{entry}, {entry.device}});
  } else if (found->second.closed || view.now > found->second.latest) {
    if (!found->second.closed) close(found->first, decisions);  // its timer is due
    leave_group(entry.device, decisions);
    state_.general.push_back(entry);
    client.place = Place::kFree;
    if (view.idle.contains(entry.device)) assign(entry.device, view, decisions);
  } else {
    Group& group = found->second;
    group.arrived.push_back(entry.device);
    group.buffer.push_back(entry);
    client.place = Place::kHeld;
    leave_group(entry.device, decisions);
  }
  start_fold(view, decisions);
  return decisions;
}

Decisions FedCompass::on_timer(std::uint64_t key, const PolicyView& view) {
  Decisions decisions;
  const auto group = state_.groups.find(key);
  if (group == state_.groups.end() || group->second.closed || view.now < group->second.latest) return decisions;
  close(key, decisions);
  start_fold(view, decisions);
  return decisions;
}

Decisions FedCompass::on_failure(AssignmentId assignment, DeviceId device, const PolicyView& view) {
  Decisions decisions;
  const auto found = state_.clients.find(device);
  if (found == state_.clients.end() || found->second.place != Place::kTraining ||
      found->second.assignment != assignment)
    return decisions;
  leave_group(device, decisions);
  Client& client = found->second;
  client.place = Place::kFree;
  client.speed = 0;  // whatever it was, it did not hold
  ++client.failures;
  start_fold(view, decisions);
  return decisions;
}

Decisions FedCompass::on_committed(const PolicyView& view) {
  SHOAL_CHECK(!state_.pending.empty(), "a commit without a fold");
  std::vector<DeviceId> held = std::move(state_.pending.front().held);
  state_.pending.erase(state_.pending.begin());
  std::stable_sort(held.begin(), held.end(),
                   [&](DeviceId a, DeviceId b) { return state_.clients.at(a).speed < state_.clients.at(b).speed; });
  Decisions decisions;
  for (DeviceId device : held) {
    state_.clients.at(device).place = Place::kFree;
    if (view.idle.contains(device)) assign(device, view, decisions);
  }
  start_fold(view, decisions);
  return decisions;
}

void FedCompass::measure(Client& client, const Entry& entry) const {
  const double mu = spec_.fedcompass.speed_momentum;
  const double seconds = std::max(to_seconds(entry.received - entry.assigned) / client.steps, kFastest);
  client.speed = client.speed == 0 ? seconds : (1 - mu) * client.speed + mu * seconds;
  client.failures = 0;
}

// The device is not out any more; closes its group if it was the last one.
void FedCompass::leave_group(DeviceId device, Decisions& decisions) {
  const auto found = state_.groups.find(std::exchange(state_.clients.at(device).group, 0));
  if (found == state_.groups.end()) return;
  Group& group = found->second;
  group.out.erase(device);
  if (!group.out.empty()) return;
  if (group.closed) {
    state_.groups.erase(found);
  } else {
    close(found->first, decisions);
  }
}

// Nobody joins it any more. Its updates and the late ones of others form one fold, if there are any.
void FedCompass::close(GroupId id, Decisions& decisions) {
  Group& group = state_.groups.at(id);
  Pending pending{std::move(state_.general), group.arrived};
  pending.entries.insert(pending.entries.end(), group.buffer.begin(), group.buffer.end());
  state_.general.clear();
  if (!pending.entries.empty()) state_.pending.push_back(std::move(pending));
  decisions.cancel.push_back(id);
  if (group.out.empty()) {
    state_.groups.erase(id);
  } else {
    group.closed = true;
    group.arrived.clear();
    group.buffer.clear();
  }
}

// Those that wait and are not idle any more, because other work took them or they went away, have no place.
void FedCompass::give_up_taken(const PolicyView& view) {
  const auto taken = [&](DeviceId device) {
    if (view.idle.contains(device)) return false;
    state_.clients.at(device).place = Place::kFree;
    return true;
  };
  for (auto& [id, group] : state_.groups) std::erase_if(group.arrived, taken);
  for (Pending& pending : state_.pending) std::erase_if(pending.held, taken);
}

void FedCompass::start_fold(const PolicyView& view, Decisions& decisions) {
  if (view.folding || state_.pending.empty()) return;
  const std::vector<Entry>& entries = state_.pending.front().entries;
  std::vector<double> factors;
  for (const Entry& entry : entries)
    factors.push_back(staleness_weight(view.version, entry.base, spec_.fedcompass.staleness_exponent));
  decisions.fold = weighted_mean(spec_, entries, factors, spec_.fedcompass.devices / spec_.fedcompass.alpha);
  decisions.fold->outstanding =
      static_cast<std::uint32_t>(std::count_if(state_.clients.begin(), state_.clients.end(),
                                               [](const auto& item) { return item.second.place == Place::kTraining; }));
}

std::size_t FedCompass::taken() const {
  return static_cast<std::size_t>(std::count_if(state_.clients.begin(), state_.clients.end(),
                                                [](const auto& item) { return item.second.place != Place::kFree; }));
}

std::size_t FedCompass::devices_wanted(const PolicyView& view) const {
  if (!state_.started) return view.idle.size() < spec_.fedcompass.devices ? spec_.fedcompass.devices : 0;
  return taken() == 0 && view.idle.empty() ? 1 : 0;
}

// Idle devices take the places that are free: at the start all of them, later those of lost devices.
void FedCompass::fill_places(const PolicyView& view, Decisions& decisions) {
  const std::size_t wanted = spec_.fedcompass.devices;
  if (!state_.started && view.idle.size() < wanted) return;
  const std::size_t places = wanted - std::min(wanted, taken());
  if (places == 0) return;
  std::vector<std::pair<double, DeviceId>> candidates;  // by speed, the unknown ones last
  for (DeviceId device : view.idle) {
    const auto client = state_.clients.find(device);
    if (client != state_.clients.end() && client->second.place != Place::kFree) continue;
    const bool known = client != state_.clients.end() && client->second.speed > 0;
    candidates.emplace_back(known ? client->second.speed : INFINITY, device);
  }
  if (candidates.empty()) return;
  state_.started = true;
  std::vector<std::pair<double, DeviceId>> chosen;
  Stream draw(spec_.seed, "places", ++state_.draws);
  for (std::uint64_t i : draw.sample(candidates.size(), std::min(places, candidates.size())))
    chosen.push_back(candidates[i]);
  std::sort(chosen.begin(), chosen.end());
  for (const auto& [speed, device] : chosen) assign(device, view, decisions);
}

void FedCompass::assign(DeviceId device, const PolicyView& view, Decisions& decisions) {
  Client& client = state_.clients[device];
  client.place = Place::kTraining;
  client.steps = spec_.fedcompass.max_steps;
  if (client.speed > 0 && !join(device, view.now)) begin_group(device, view.now, decisions);
  decisions.assign.push_back({device, client.steps, lease(client)});
}

// Into the group in which the device is busy longest, if it can return there in time with enough steps.
bool FedCompass::join(DeviceId device, Time now) {
  Client& client = state_.clients.at(device);
  double most = 0;
  for (const auto& [id, group] : state_.groups) {
    if (group.closed) continue;
    const double steps = std::floor(to_seconds(group.expected - now) / client.speed);
    if (steps < spec_.fedcompass.min_steps || steps > spec_.fedcompass.max_steps || steps <= most) continue;
    most = steps;
    client.group = id;
  }
  if (most == 0) return false;
  client.steps = static_cast<std::uint32_t>(most);
  state_.groups.at(client.group).out.insert(device);
  return true;
}

// A group of its own, timed to meet an open group when that one's fastest member will be back from its next assignment.
void FedCompass::begin_group(DeviceId device, Time now, Decisions& decisions) {
  Client& client = state_.clients.at(device);
  const FedCompassOptions& options = spec_.fedcompass;
  double most = -1;
  for (const auto& [id, group] : state_.groups) {
    if (group.closed || now >= group.latest) continue;
    double fastest = INFINITY;
    for (DeviceId member : group.out) fastest = std::min(fastest, state_.clients.at(member).speed);
    for (DeviceId member : group.arrived) fastest = std::min(fastest, state_.clients.at(member).speed);
    const double steps = std::floor((to_seconds(group.latest - now) + fastest * options.max_steps) / client.speed);
    if (steps <= options.max_steps) most = std::max(most, steps);
  }
  if (most >= 0) client.steps = std::max(static_cast<std::uint32_t>(most), options.min_steps);
  client.group = ++state_.last_group;
  Group group;
  group.expected = saturating_add(now, time_for(client.steps, client.speed));
  group.latest = saturating_add(now, time_for(client.steps * options.latest_factor, client.speed));
  group.out.insert(device);
  decisions.set.push_back({client.group, group.latest});
  state_.groups.emplace(client.group, std::move(group));
}

// Until the device counts as dead.
Duration FedCompass::lease(const Client& client) const {
  const double factor = kDeathFactor * spec_.fedcompass.latest_factor * client.steps;
  if (client.speed > 0) return from_seconds(std::max(factor * client.speed, kShortestLease));
  double slowest = 0;
  for (const auto& [device, other] : state_.clients) slowest = std::max(slowest, other.speed);
  return from_seconds(
      std::ldexp(std::max(factor * slowest, kFirstLease), static_cast<int>(std::min(client.failures, kMostDoublings))));
}

}  // namespace shoal::coordinator
