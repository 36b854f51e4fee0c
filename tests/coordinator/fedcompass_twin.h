// FedCompass a second time: the published pseudo-code, line by line, with a world of its own in which folds take no
// time.
//
// Kept naive on purpose. It shares no code with coordinator/fedcompass.cpp, only the draws of policy_world.h.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "tests/coordinator/policy_world.h"

namespace shoal::coordinator {

class FedCompassTwin {
 public:
  using Work = std::function<std::optional<double>(std::uint64_t device, std::uint64_t nth, std::uint32_t steps)>;

  FedCompassTwin(FedCompassOptions options, Work work)
      : o_(options), work_(std::move(work)), clients_(options.devices + 1) {}

  Trace run(double seconds) {
    for (int i = 1; i < static_cast<int>(clients_.size()); ++i) send_without_group(i);
    const auto end = static_cast<std::int64_t>(seconds * 1e9);
    while (step(end)) {
    }
    return trace_;
  }

 private:
  static constexpr std::int64_t kNobody = std::numeric_limits<std::int64_t>::max();
  struct Update {
    int client;
    std::int64_t version;
  };
  struct Client {
    double S = 0;
    std::uint32_t Q = 0;
    std::int64_t start = 0, version = 0, back = kNobody, death = kNobody;
    int group = 0;
    std::uint64_t nth = 0, failures = 0, sent = 0;
  };
  struct Group {
    std::set<int> C;
    std::vector<int> A;
    std::vector<Update> B;
    std::int64_t T_exp = 0, T_lat = 0;
    bool timer = true;
  };

  // The next thing that happens, if it is not after the end: arrivals before deaths (in order of sending) before
  // timers.
  bool step(std::int64_t end) {
    int arrival = 0, death = 0, timer = 0;
    std::int64_t at = kNobody;
    for (int i = 1; i < static_cast<int>(clients_.size()); ++i)
      if (clients_[i].back < at) at = clients_[i].back, arrival = i;
    for (int i = 1; i < static_cast<int>(clients_.size()); ++i)
      if (clients_[i].death < at || (death && clients_[i].death == at && clients_[i].sent < clients_[death].sent))
        at = clients_[i].death, death = i, arrival = 0;
    for (const auto& [id, g] : groups_)
      if (g.timer && g.T_lat < at) at = g.T_lat, timer = id, arrival = death = 0;
    if (at == kNobody || at > end) return false;
    now_ = at;
    if (arrival) on_arrival(arrival);
    if (death) on_death(death);
    if (timer) close(timer);
    return true;
  }

  void on_arrival(int i) {
    Client& c = clients_[i];
    c.back = c.death = kNobody;
    c.failures = 0;
    const double s = static_cast<double>(now_ - c.start) / 1e9 / c.Q;
    c.S = c.S == 0 ? s : (1 - o_.speed_momentum) * c.S + o_.speed_momentum * s;
    const Update u{i, c.version};
    if (c.group == 0) {
      aggregate({u});
      assign_and_send(i);
      return;
    }
    const int id = c.group;
    Group& g = groups_.at(id);
    g.C.erase(i);
    if (now_ > g.T_lat) {
      if (g.C.empty()) groups_.erase(id);
      general_.push_back(u);
      assign_and_send(i);
    } else {
      g.A.push_back(i);
      g.B.push_back(u);
      if (g.C.empty()) close(id);
    }
  }

  // The repair: nobody waits for it any more, and what was known of it is forgotten. It is at hand again at once.
  void on_death(int i) {
    Client& c = clients_[i];
    c.back = c.death = kNobody;
    c.S = 0;
    ++c.failures;
    const int id = c.group;
    if (id != 0) {
      Group& g = groups_.at(id);
      g.C.erase(i);
      if (g.C.empty() && g.timer)
        close(id);
      else if (g.C.empty())
        groups_.erase(id);
    }
    send_without_group(i);
  }

  void close(int id) {
    Group& g = groups_.at(id);
    std::vector<Update> U = general_;
    U.insert(U.end(), g.B.begin(), g.B.end());
    general_.clear();
    g.B.clear();
    if (!U.empty()) aggregate(U);
    g.T_exp = g.T_lat = 0;
    g.timer = false;
    std::vector<int> waiting = std::move(g.A);
    g.A.clear();
    while (!waiting.empty()) {
      std::size_t fastest = 0;
      for (std::size_t k = 1; k < waiting.size(); ++k)
        if (clients_[waiting[k]].S < clients_[waiting[fastest]].S) fastest = k;
      const int i = waiting[fastest];
      waiting.erase(waiting.begin() + static_cast<std::ptrdiff_t>(fastest));
      assign_and_send(i);
    }
    if (groups_.at(id).C.empty()) groups_.erase(id);
  }

  void assign_and_send(int i) {
    Client& c = clients_[i];
    c.version = V_;
    c.group = 0;
    if (groups_.empty()) {
      create(i, o_.max_steps);
    } else if (!join(i)) {
      double q = -1;
      for (const auto& [id, g] : groups_) {
        if (!(now_ < g.T_lat)) continue;
        double fastest = std::numeric_limits<double>::infinity();
        for (int k : g.C) fastest = std::min(fastest, clients_[k].S);
        for (int k : g.A) fastest = std::min(fastest, clients_[k].S);
        const double steps = std::floor((static_cast<double>(g.T_lat - now_) / 1e9 + fastest * o_.max_steps) / c.S);
        if (steps <= o_.max_steps && steps > q) q = steps;
      }
      if (q < 0) q = o_.max_steps;
      if (q < o_.min_steps) q = o_.min_steps;
      create(i, static_cast<std::uint32_t>(q));
    }
    send(i, std::max(2 * o_.latest_factor * c.Q * c.S, 10.0));
  }

  bool join(int i) {
    Client& c = clients_[i];
    double q = -1;
    for (const auto& [id, g] : groups_) {
      const double steps = std::floor(static_cast<double>(g.T_exp - now_) / 1e9 / c.S);
      if (steps >= o_.min_steps && steps <= o_.max_steps && steps > q) q = steps, c.group = id;
    }
    if (q < 0) return false;
    c.Q = static_cast<std::uint32_t>(q);
    groups_.at(c.group).C.insert(i);
    return true;
  }

  void create(int i, std::uint32_t q) {
    Client& c = clients_[i];
    c.Q = q;
    c.group = ++last_group_;
    Group g;
    g.C.insert(i);
    g.T_exp = now_ + static_cast<std::int64_t>(q * c.S * 1e9) + 1;
    g.T_lat = now_ + static_cast<std::int64_t>(q * o_.latest_factor * c.S * 1e9) + 1;
    groups_[c.group] = g;
  }

  void send_without_group(int i) {
    Client& c = clients_[i];
    c.version = V_;
    c.group = 0;
    c.Q = o_.max_steps;
    double slowest = 0;
    for (const Client& other : clients_) slowest = std::max(slowest, other.S);
    send(i, std::max(2 * o_.latest_factor * c.Q * slowest, 3600.0) *
                std::pow(2.0, static_cast<double>(std::min<std::uint64_t>(c.failures, 10))));
  }

  void send(int i, double patience) {
    Client& c = clients_[i];
    c.start = now_;
    c.sent = ++sends_;
    const std::optional<double> seconds = work_(static_cast<std::uint64_t>(i), ++c.nth, c.Q);
    c.back = seconds ? now_ + static_cast<std::int64_t>(*seconds * 1e9) : kNobody;
    c.death = now_ + static_cast<std::int64_t>(patience * 1e9);
    TraceEvent event;
    event.at = Time(Duration(now_));
    event.device = static_cast<std::uint64_t>(i);
    event.steps = c.Q;
    trace_.push_back(event);
  }

  void aggregate(const std::vector<Update>& U) {
    TraceEvent event;
    event.at = Time(Duration(now_));
    for (const Update& u : U) {
      const double s = std::pow(1.0 + static_cast<double>(V_ - u.version), -o_.staleness_exponent);
      event.parts.push_back(
          {static_cast<std::uint64_t>(u.client), static_cast<Version>(u.version), o_.alpha / o_.devices * s});
    }
    std::sort(event.parts.begin(), event.parts.end(),
              [](const auto& a, const auto& b) { return std::tie(a.device, a.base) < std::tie(b.device, b.base); });
    trace_.push_back(event);
    ++V_;
  }

  FedCompassOptions o_;
  Work work_;
  std::vector<Client> clients_;  // from 1
  std::map<int, Group> groups_;
  std::vector<Update> general_;
  std::int64_t now_ = 0, V_ = 0;
  int last_group_ = 0;
  std::uint64_t sends_ = 0;
  Trace trace_;
};

}  // namespace shoal::coordinator
