// Chunk-sized buffers that go around: filled by a source, sent without a copy, and back when libzmq is done with them.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "protocol/zmq/socket.h"

namespace shoal::protocol::zmq {

// Thread-safe. Lives at least as long as the messages made from it. Fresh 256 KiB blocks for every chunk would cost a
// page fault per 4 KiB.
class ChunkBuffers : public std::enable_shared_from_this<ChunkBuffers> {
 public:
  // Keeps at most `keep` idle buffers.
  static std::shared_ptr<ChunkBuffers> make(std::size_t keep);

  // Of any size and content.
  std::vector<std::byte> take();
  void give_back(std::vector<std::byte> buffer);
  // A frame over the buffer's bytes; the buffer comes back by itself.
  Message lend(std::vector<std::byte> buffer);

 private:
  explicit ChunkBuffers(std::size_t keep) : keep_(keep) {}

  const std::size_t keep_;
  std::mutex mutex_;
  std::vector<std::vector<std::byte>> idle_;
};

}  // namespace shoal::protocol::zmq
