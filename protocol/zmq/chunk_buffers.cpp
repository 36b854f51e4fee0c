#include "protocol/zmq/chunk_buffers.h"

#include <atomic>
#include <utility>

#include "base/check.h"

namespace shoal::protocol::zmq {
namespace {

struct Loan {
  std::shared_ptr<ChunkBuffers> owner;
  std::vector<std::byte> buffer;
  // Goes from thread to thread within libzmq, which has barriers of its own; this one can be seen by ThreadSanitizer.
  std::atomic<bool> lent{false};
};

void end_loan(void*, void* hint) {
  const std::unique_ptr<Loan> loan(static_cast<Loan*>(hint));
  SHOAL_CHECK(loan->lent.load(std::memory_order_acquire), "a buffer came back that was not lent");
  loan->owner->give_back(std::move(loan->buffer));
}

}  // namespace

std::shared_ptr<ChunkBuffers> ChunkBuffers::make(std::size_t keep) {
  return std::shared_ptr<ChunkBuffers>(new ChunkBuffers(keep));
}

std::vector<std::byte> ChunkBuffers::take() {
  const std::lock_guard lock(mutex_);
  if (idle_.empty()) return {};
  std::vector<std::byte> buffer = std::move(idle_.back());
  idle_.pop_back();
  return buffer;
}

void ChunkBuffers::give_back(std::vector<std::byte> buffer) {
  const std::lock_guard lock(mutex_);
  if (idle_.size() < keep_) idle_.push_back(std::move(buffer));
}

Message ChunkBuffers::lend(std::vector<std::byte> buffer) {
  auto loan = std::make_unique<Loan>();
  loan->owner = shared_from_this();
  loan->buffer = std::move(buffer);
  const std::span<std::byte> bytes = loan->buffer;
  loan->lent.store(true, std::memory_order_release);
  return Message(bytes, &end_loan, loan.release());
}

}  // namespace shoal::protocol::zmq
