// The server's side of running transfers as bookkeeping: which chunks may travel, within a budget that all share.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>

#include "base/time.h"
#include "protocol/zmq/ticket_desk.h"

namespace shoal::protocol::zmq {

// An admitted connection at work with one ticket. Chunks next .. granted - 1 are on their way (their room is taken from
// the budget).
struct Transfer {
  std::string route;
  std::shared_ptr<Offer> offer;
  std::uint32_t chunks = 0;
  std::uint32_t next = 0;     // the receiver holds everything before
  std::uint32_t granted = 0;  // end of what the budget allows
  std::uint32_t told = 0;     // upload: end of what the client was allowed
  std::uint32_t sent = 0;     // download: end of what was sent
  std::uint32_t wanted = 0;   // download: end of what the client has room for
  bool opened = false;        // its first message was taken
  bool waiting = false;       // in line for room
  bool gone = false;          // the connection ended
  Time progress{};            // when the last chunk was finished
  Time told_at{};             // upload: when the client was told of its progress

  bool upload() const { return offer->sink != nullptr; }
};

// Room for chunks on their way, shared evenly. One thread.
class ChunkBudget {
 public:
  // `total` chunks for all transfers, at most `window` for one; both at least 1.
  ChunkBudget(std::uint32_t total, std::uint32_t window);

  void join();
  void leave(Transfer& transfer);
  // The receiver holds everything before `next` now.
  void advance(Transfer& transfer, std::uint32_t next);
  // Grants what the transfer's share and the free room allow; true when that moved `granted`.
  bool top_up(Transfer& transfer);

  std::uint32_t free() const { return free_; }

 private:
  const std::uint32_t total_, window_;
  std::uint32_t free_;
  std::uint32_t active_ = 0;
};

}  // namespace shoal::protocol::zmq
