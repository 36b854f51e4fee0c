#include "coordinator/sessions.h"

namespace shoal::coordinator {

std::optional<protocol::Peer> Sessions::open(DeviceId device, const protocol::Peer& peer, std::uint64_t process,
                                             const protocol::DeviceFacts& facts, Time alive_until) {
  std::optional<protocol::Peer> replaced;
  auto [slot, fresh] = sessions_.try_emplace(device);
  Session& session = slot->second;
  if (!fresh) {
    by_time_.erase({session.alive_until, device});
    if (!session.peer.route.empty() && session.process != process) replaced = session.peer;
  }
  session.device = device;
  session.peer = peer;
  session.process = process;
  session.facts = facts;
  session.alive_until = alive_until;
  by_time_.insert({alive_until, device});
  return replaced;
}

Session* Sessions::find(DeviceId device) {
  const auto found = sessions_.find(device);
  return found == sessions_.end() ? nullptr : &found->second;
}

const Session* Sessions::find(DeviceId device) const {
  const auto found = sessions_.find(device);
  return found == sessions_.end() ? nullptr : &found->second;
}

void Sessions::keep_alive(Session& session, Time until) {
  by_time_.erase({session.alive_until, session.device});
  session.alive_until = until;
  by_time_.insert({until, session.device});
}

void Sessions::close(DeviceId device) {
  const auto found = sessions_.find(device);
  if (found == sessions_.end()) return;
  by_time_.erase({found->second.alive_until, device});
  sessions_.erase(found);
}

std::vector<DeviceId> Sessions::lost(Time now) const {
  std::vector<DeviceId> devices;
  for (const auto& [until, device] : by_time_) {
    if (until > now) break;
    devices.push_back(device);
  }
  return devices;
}

std::vector<DeviceId> Sessions::all() const {
  std::vector<DeviceId> devices;
  for (const auto& [device, session] : sessions_) devices.push_back(device);
  return devices;
}

}  // namespace shoal::coordinator
