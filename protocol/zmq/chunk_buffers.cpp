#include "protocol/zmq/chunk_buffers.h"

#include <utility>

namespace shoal::protocol::zmq {
namespace {

struct Loan {
  std::shared_ptr<ChunkBuffers> owner;
  std::vector<std::byte> buffer;
};

void end_loan(void*, void* hint) {
  const std::unique_ptr<Loan> loan(static_cast<Loan*>(hint));
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
  auto loan = std::make_unique<Loan>(Loan{shared_from_this(), std::move(buffer)});
  const std::span<std::byte> bytes = loan->buffer;
  return Message(bytes, &end_loan, loan.release());
}

}  // namespace shoal::protocol::zmq
