// Devices that are connected now: who, over which route, and until when they count as alive without a word.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "base/ids.h"
#include "base/time.h"
#include "protocol/transport.h"

namespace shoal::coordinator {

struct Session {
  DeviceId device;
  protocol::Peer peer;
  protocol::DeviceFacts facts;
  Time alive_until{};
  std::uint64_t process = 0;  // of the client program, as its Hello said
  AssignmentId holds;         // work that the device said it has in hand
  JobId job;                  // of its assignment, until that is answered: for which its messages are counted
};

// Owner thread only.
class Sessions {
 public:
  // The session of the device, made or taken over: a newer connection wins. Returns the peer that lost, if it belongs
  // to another process: one that merely connected anew has left its old connection behind.
  std::optional<protocol::Peer> open(DeviceId device, const protocol::Peer& peer, std::uint64_t process,
                                     const protocol::DeviceFacts& facts, Time alive_until);
  // nullptr when the device is not connected.
  Session* find(DeviceId device);
  const Session* find(DeviceId device) const;
  void keep_alive(Session& session, Time until);
  void close(DeviceId device);

  // The earliest end of a session without a word; kNever when there is none.
  Time next_loss() const { return by_time_.empty() ? kNever : by_time_.begin()->first; }
  // Devices whose time ran out by `now`.
  std::vector<DeviceId> lost(Time now) const;
  std::vector<DeviceId> all() const;
  std::size_t size() const { return sessions_.size(); }

 private:
  std::map<DeviceId, Session> sessions_;
  std::set<std::pair<Time, DeviceId>> by_time_;
};

}  // namespace shoal::coordinator
