// Ingest over loopback: 8 clients upload sealed 4 MB updates, opened at the other end, beside plain ZeroMQ of the same
// messages.
//
//   bulk_bench [SECONDS]     each way, default 5; CPU time is of both ends together
#include <sys/resource.h>
#include <zmq.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "protocol/sealed_object.h"
#include "protocol/zmq/bulk.h"

namespace shoal::protocol {
namespace {

constexpr int kClients = 8;
constexpr std::uint64_t kUpdateBytes = 4'000'000;
using SteadyClock = std::chrono::steady_clock;

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// Runs `work` for each client until the time is over, and prints what its bytes cost.
template <class Work>
void measure(const char* name, double seconds, Work work) {
  std::atomic<std::uint64_t> bytes{0};
  const auto started = SteadyClock::now();
  const auto deadline = started + std::chrono::duration<double>(seconds);
  const double cpu = cpu_seconds();
  std::vector<std::thread> clients;
  for (int i = 0; i < kClients; ++i)
    clients.emplace_back([&, i] {
      work(
          i, [&] { return SteadyClock::now() < deadline; }, bytes);
    });
  for (std::thread& client : clients) client.join();
  const double gigabytes = 1e-9 * static_cast<double>(bytes.load());
  const double elapsed = std::chrono::duration<double>(SteadyClock::now() - started).count();
  std::printf("%-34s %6.2f GB/s  %5.2f CPU-s/GB  (%.2f GB)\n", name, gigabytes / elapsed,
              (cpu_seconds() - cpu) / gigabytes, gigabytes);
}

// Seals each chunk when it is read, as a client would that trains in memory.
class SealingSource final : public ChunkSource {
 public:
  SealingSource(const ObjectInfo& object, const std::vector<std::byte>& plain)
      : object_(object), plain_(plain), cipher_(object) {}
  Status read(std::uint32_t chunk, std::vector<std::byte>& sealed) override {
    sealed.resize(object_.sealed_bytes(chunk));
    cipher_.seal(chunk, std::span(plain_).subspan(std::size_t{chunk} * kChunkBytes, sealed.size() - kTagBytes), sealed);
    return {};
  }

 private:
  const ObjectInfo& object_;
  const std::vector<std::byte>& plain_;
  ChunkCipher cipher_;
};

class OpeningSink final : public ChunkSink {
 public:
  OpeningSink(const ObjectInfo& object, bool open) : open_(open), cipher_(object), plain_(kChunkBytes) {}
  Status write(std::uint32_t chunk, std::span<const std::byte> sealed) override {
    if (!open_) return {};
    return cipher_.open(chunk, sealed, std::span(plain_).first(sealed.size() - kTagBytes));
  }
  void complete() override {}

 private:
  const bool open_;
  ChunkCipher cipher_;
  std::vector<std::byte> plain_;
};

class CopyingSource final : public ChunkSource {
 public:
  explicit CopyingSource(const ObjectInfo& object) : object_(object) {}
  Status read(std::uint32_t chunk, std::vector<std::byte>& sealed) override {
    sealed.resize(object_.sealed_bytes(chunk));
    return {};
  }

 private:
  const ObjectInfo& object_;
};

void bulk(double seconds, bool sealed) {
  const auto server = zmq::make_bulk_server({.endpoint = "tcp://127.0.0.1:*"}).value();
  const std::vector<std::byte> plain(kUpdateBytes);
  measure(sealed ? "bulk plane, sealed and opened" : "bulk plane, bytes only", seconds,
          [&](int client, auto more, auto& bytes) {
            const auto uploader = zmq::make_bulk_client();
            for (std::uint64_t round = 0; more(); ++round) {
              const ObjectInfo object{round * kClients + client, kUpdateBytes, preferred_suite(),
                                      make_object_key().value()};
              const auto sink = std::make_shared<OpeningSink>(object, sealed);
              const Ticket ticket = server->offer_upload(object, 0, sink, std::chrono::minutes(1)).value();
              std::unique_ptr<ChunkSource> source;
              if (sealed)
                source = std::make_unique<SealingSource>(object, plain);
              else
                source = std::make_unique<CopyingSource>(object);
              uploader->upload(ticket, object, 0, *source, std::chrono::minutes(1), [] { return true; }).value();
              bytes += kUpdateBytes;
            }
          });
}

// The same messages, PUSH to PULL, one connection a client.
void plain_zeromq(double seconds) {
  std::vector<std::byte> chunk(kChunkBytes + kTagBytes);  // sent without copies, hence outlives the context
  void* const context = zmq_ctx_new();
  void* const pull = zmq_socket(context, ZMQ_PULL);
  zmq_bind(pull, "tcp://127.0.0.1:*");
  char endpoint[256];
  std::size_t size = sizeof endpoint;
  zmq_getsockopt(pull, ZMQ_LAST_ENDPOINT, endpoint, &size);
  const int patience_ms = 500;
  zmq_setsockopt(pull, ZMQ_RCVTIMEO, &patience_ms, sizeof patience_ms);
  std::atomic<bool> over{false};
  std::thread receiver([&] {
    zmq_msg_t message;
    zmq_msg_init(&message);
    while (zmq_msg_recv(&message, pull, 0) >= 0 || !over) {
    }
    zmq_msg_close(&message);
  });
  measure("plain ZeroMQ, PUSH to PULL", seconds, [&](int, auto more, auto& bytes) {
    void* const push = zmq_socket(context, ZMQ_PUSH);
    const int window = 8;
    zmq_setsockopt(push, ZMQ_SNDHWM, &window, sizeof window);
    zmq_connect(push, endpoint);
    while (more()) {
      zmq_msg_t message;
      zmq_msg_init_data(&message, chunk.data(), chunk.size(), nullptr, nullptr);
      if (zmq_msg_send(&message, push, 0) >= 0) bytes += kChunkBytes;
    }
    zmq_close(push);
  });
  over = true;
  receiver.join();
  zmq_close(pull);
  zmq_ctx_term(context);
}

}  // namespace
}  // namespace shoal::protocol

int main(int argc, char** argv) {
  const double seconds = argc > 1 ? std::atof(argv[1]) : 5;
  if (seconds <= 0) {
    std::fprintf(stderr, "usage: bulk_bench [SECONDS]\n");
    return 2;
  }
  shoal::protocol::plain_zeromq(seconds);
  shoal::protocol::bulk(seconds, false);
  shoal::protocol::bulk(seconds, true);
}
