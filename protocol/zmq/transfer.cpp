#include "protocol/zmq/transfer.h"

#include "base/check.h"

namespace shoal::protocol::zmq {

ChunkBudget::ChunkBudget(std::uint32_t total, std::uint32_t window) : total_(total), window_(window), free_(total) {
  SHOAL_CHECK(total >= 1 && window >= 1, "a transfer needs room for a chunk");
}

void ChunkBudget::join() { ++active_; }

void ChunkBudget::leave(Transfer& transfer) {
  --active_;
  free_ += transfer.granted - transfer.next;
  transfer.granted = transfer.next;
}

void ChunkBudget::advance(Transfer& transfer, std::uint32_t next) {
  SHOAL_CHECK(transfer.next <= next && next <= transfer.granted, "a chunk arrived that was not granted");
  free_ += next - transfer.next;
  transfer.next = next;
}

bool ChunkBudget::top_up(Transfer& transfer) {
  const std::uint32_t share = std::clamp(total_ / std::max(active_, 1u), 1u, window_);
  const std::uint32_t target = std::min(share, transfer.chunks - transfer.next);
  const std::uint32_t outstanding = transfer.granted - transfer.next;
  if (outstanding >= target) return false;
  const std::uint32_t more = std::min(target - outstanding, free_);
  free_ -= more;
  transfer.granted += more;
  return more > 0;
}

}  // namespace shoal::protocol::zmq
