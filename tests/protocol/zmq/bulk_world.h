// What the bulk tests share: sealed objects in memory, a clock that a test moves, a server with clients.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "protocol/sealed_object.h"
#include "protocol/zmq/bulk.h"

namespace shoal::protocol::zmq {

inline constexpr Duration kPatience = std::chrono::seconds(30);

inline bool forever() { return true; }

// Waits for another thread's work. False when it takes suspiciously long.
inline bool eventually(const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

class ManualClock final : public Clock {
 public:
  Time now() const override { return Time(Duration(ns_.load())); }
  void advance(Duration d) { ns_ += d.count(); }

 private:
  std::atomic<Duration::rep> ns_{Duration(std::chrono::hours(1)).count()};
};

// A sealed object with random content; also the source that serves it.
class SealedObject final : public ChunkSource {
 public:
  explicit SealedObject(std::uint64_t bytes, std::uint64_t id = 7) {
    info.id = id;
    info.bytes = bytes;
    info.suite = preferred_suite();
    info.key = make_object_key().value();
    Stream random(id, "content");
    ChunkCipher cipher(info);
    for (std::uint32_t i = 0; i < info.chunks(); ++i) {
      plain.emplace_back(info.sealed_bytes(i) - kTagBytes);
      for (std::size_t at = 0; at < plain[i].size(); at += 64) plain[i][at] = static_cast<std::byte>(random.next32());
      sealed.emplace_back(info.sealed_bytes(i));
      cipher.seal(i, plain[i], sealed[i]);
    }
  }

  // A test that knows from its client that a transfer has ended may end the object, though a sink compared with it on
  // the server's thread: libzmq orders the two, but without showing it to ThreadSanitizer.
  ~SealedObject() override { const std::lock_guard ended(compared); }

  Status read(std::uint32_t chunk, std::vector<std::byte>& out) override {
    if (before_read) SHOAL_TRY(before_read(chunk));
    out = sealed.at(chunk);
    return {};
  }

  ObjectInfo info;
  std::vector<std::vector<std::byte>> plain, sealed;
  std::function<Status(std::uint32_t)> before_read;
  mutable std::mutex compared;  // held by a sink that compares with it
};

// Opens and compares what arrives; shared between a server's thread and a test.
class OpeningSink final : public ChunkSink {
 public:
  explicit OpeningSink(const SealedObject& expected, std::uint32_t first = 0)
      : next(first), expected_(expected), cipher_(expected.info) {}

  Status write(std::uint32_t chunk, std::span<const std::byte> sealed) override {
    EXPECT_EQ(chunk, next.load());
    EXPECT_FALSE(completed.load());
    if (before_write) SHOAL_TRY(before_write(chunk));
    const std::lock_guard comparing(expected_.compared);
    std::vector<std::byte> plain(sealed.size() - kTagBytes);
    SHOAL_TRY(cipher_.open(chunk, sealed, plain));
    EXPECT_TRUE(plain == expected_.plain.at(chunk)) << "a chunk that opens is the right one";
    ++next;
    return {};
  }
  void complete() override {
    const std::lock_guard comparing(expected_.compared);
    EXPECT_EQ(next.load(), expected_.info.chunks());
    completed = true;
  }

  std::atomic<std::uint32_t> next;
  std::atomic<bool> completed{false};
  std::function<Status(std::uint32_t)> before_write;

 private:
  const SealedObject& expected_;
  ChunkCipher cipher_;
};

inline std::unique_ptr<BulkServer> bulk_server(BulkServerOptions options = {}) {
  options.endpoint = "tcp://127.0.0.1:*";
  return make_bulk_server(std::move(options)).value();
}

// The same ticket, through a relay.
inline Ticket through(Ticket ticket, const std::string& endpoint) {
  ticket.endpoint = endpoint;
  return ticket;
}

}  // namespace shoal::protocol::zmq
