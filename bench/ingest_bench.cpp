// Ingest over loopback, one way: 8 clients seal and upload 4 MB updates as fast as they can; each is opened, judged,
// stored, synced, and journaled before its receipt. Beside it, in the same run: the disk with the same way of writing,
// and plain ZeroMQ.
//
//   ingest_bench [FOLDER] [SECONDS]     FOLDER is on the disk to measure (default .); SECONDS for each of the three,
//   default 10
//
// CPU time is of both ends together.
#include <sys/resource.h>
#include <zmq.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <future>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "cli/heap.h"
#include "coordinator/intake.h"
#include "coordinator/rocksdb/store.h"
#include "protocol/sealed_object.h"
#include "protocol/sha256.h"
#include "protocol/zmq/bulk.h"

namespace shoal::bench {
namespace {

using namespace protocol;
using coordinator::IntakeResult;
using coordinator::Offer;
using SteadyClock = std::chrono::steady_clock;

constexpr std::size_t kClients = 8;
constexpr std::uint64_t kUpdateBytes = 4'000'000;
constexpr std::size_t kReleasedAtOnce = 64;  // as many as a round of so many devices folds and gives back

template <class T>
T must(Result<T> result) {
  if (result.ok()) return std::move(result).value();
  std::fprintf(stderr, "%s\n", result.error().to_string().c_str());
  std::exit(1);
}
void must(Status status) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s\n", status.error().to_string().c_str());
  std::exit(1);
}

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// Runs `work(client, more)` for each client until the time is over; it returns its bytes. Prints what they cost; GB/s.
template <class Work>
double measure(const char* name, double seconds, Work work) {
  const double cpu = cpu_seconds();
  const auto begin = SteadyClock::now();
  const auto more = [end = begin + std::chrono::duration<double>(seconds)] { return SteadyClock::now() < end; };
  std::vector<std::future<std::uint64_t>> clients;
  for (std::size_t i = 0; i < kClients; ++i)
    clients.push_back(std::async(std::launch::async, [&, i] { return work(i, more); }));
  double gigabytes = 0;
  for (auto& client : clients) gigabytes += 1e-9 * static_cast<double>(client.get());
  const double rate = gigabytes / std::chrono::duration<double>(SteadyClock::now() - begin).count();
  std::printf("%-46s %6.2f GB/s  %5.2f CPU-s/GB  (%.2f GB)\n", name, rate, (cpu_seconds() - cpu) / gigabytes,
              gigabytes);
  std::fflush(stdout);
  return rate;
}

// An update as a device keeps it: sealed, its digest taken. The device's space is used again for the next one.
struct SealedUpdate {
  void seal(std::uint64_t assignment, std::span<const std::byte> plain) {
    object = {assignment, plain.size(), preferred_suite(), must(make_object_key())};
    bytes.resize(object.sealed_bytes());
    ChunkCipher cipher(object);
    Sha256 tags;
    for (std::uint32_t chunk = 0; chunk < object.chunks(); ++chunk) {
      const auto sealed = std::span(bytes).subspan(chunk * (kChunkBytes + kTagBytes), object.sealed_bytes(chunk));
      cipher.seal(chunk, plain.subspan(chunk * kChunkBytes, sealed.size() - kTagBytes), sealed);
      tags.update(sealed.last(kTagBytes));
    }
    facts.digest = tags.finish();
    facts.bytes = plain.size();
  }
  ObjectInfo object;
  UpdateFacts facts;
  std::vector<std::byte> bytes;
};

class UpdateSource final : public ChunkSource {
 public:
  explicit UpdateSource(const SealedUpdate& update) : update_(update) {}
  Status read(std::uint32_t chunk, std::vector<std::byte>& sealed) override {
    const auto part =
        std::span(update_.bytes).subspan(chunk * (kChunkBytes + kTagBytes), update_.object.sealed_bytes(chunk));
    sealed.assign(part.begin(), part.end());
    return {};
  }

 private:
  const SealedUpdate& update_;
};

// The coordinator's receiving side: bulk plane, intake, bodies and journal, with an owner thread that admits.
class Receiver {
 public:
  explicit Receiver(const std::string& folder)
      : store_(must(coordinator::open_store({.path = folder, .build = "bench"}))),
        bulk_(must(zmq::make_bulk_server({.endpoint = "tcp://127.0.0.1:*"}))),
        intake_(*store_.bodies, [this] { post([this] { take_results(); }); }),
        owner_([this](std::stop_token stop) { run(stop); }) {}

  ~Receiver() {
    owner_.request_stop();
    owner_.join();
  }

  Ticket offer(const SealedUpdate& update) {
    std::promise<Ticket> ticket;
    post([&] {
      const Offer offer{DeviceId{1}, AssignmentId{update.object.id}, update.facts, update.object, 1.0};
      coordinator::Opening opening = must(intake_.receive(offer)).value();
      ticket.set_value(
          must(bulk_->offer_upload(offer.object, opening.held, std::move(opening.sink), std::chrono::minutes(1))));
    });
    return ticket.get_future().get();
  }

  // Returns when the update is durable and so is the event that names it.
  void wait_for_receipt(std::uint64_t assignment) {
    std::promise<void> receipt;
    post([&] {
      if (admitted_.erase(assignment) > 0) return receipt.set_value();
      waiting_[assignment] = &receipt;
    });
    receipt.get_future().wait();
  }

 private:
  void post(std::function<void()> call) {
    {
      const std::lock_guard lock(mutex_);
      calls_.push_back(std::move(call));
    }
    changed_.notify_one();
  }

  void run(std::stop_token stop) {
    std::unique_lock lock(mutex_);
    while (changed_.wait(lock, stop, [this] { return !calls_.empty(); })) {
      const auto calls = std::exchange(calls_, {});
      lock.unlock();
      for (const auto& call : calls) call();
      lock.lock();
    }
  }

  void take_results() {
    std::vector<coordinator::JournalRecord> records;
    for (const IntakeResult& result : intake_.results()) {
      if (result.refusal != Refusal::kNone || result.error)
        must(Status(Error(ErrorCode::kFailed, "an update was not admitted")));
      const coordinator::event::UpdateReceived event{result.offer.device, result.offer.assignment, result.offer.facts};
      records.push_back({++sequence_, Time{}, event, 0});
      received_.push_back(result.offer.assignment);
    }
    if (records.empty()) return;
    must(store_.journal->append(records));
    for (const auto& record : records) {
      const std::uint64_t assignment = std::get<coordinator::event::UpdateReceived>(record.event).assignment.value;
      if (const auto waiting = waiting_.extract(assignment))
        waiting.mapped()->set_value();
      else
        admitted_.insert(assignment);
    }
    if (received_.size() < kReleasedAtOnce) return;
    coordinator::Commit commit;
    commit.sequence = sequence_;
    commit.snapshot = "what a fold of them leaves";
    must(store_.journal->commit(commit));
    must(store_.bodies->release(std::exchange(received_, {})));
  }

  coordinator::Store store_;
  std::unique_ptr<BulkServer> bulk_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<std::function<void()>> calls_;
  // Owner thread:
  std::uint64_t sequence_ = 0;
  std::vector<AssignmentId> received_;
  std::set<std::uint64_t> admitted_;
  std::map<std::uint64_t, std::promise<void>*> waiting_;
  coordinator::Intake intake_;
  std::jthread owner_;
};

double ingest(const std::string& folder, double seconds) {
  std::filesystem::remove_all(folder);
  std::atomic<std::uint64_t> next{1};
  const std::vector<std::byte> plain(kUpdateBytes);
  double rate = 0;
  {
    Receiver receiver(folder);
    rate = measure("sealed, opened, judged, synced, journaled", seconds, [&](std::size_t, auto more) {
      const auto uploader = zmq::make_bulk_client();
      std::uint64_t bytes = 0;
      SealedUpdate update;
      while (more()) {
        update.seal(next++, plain);
        UpdateSource source(update);
        must(uploader->upload(receiver.offer(update), update.object, 0, source, std::chrono::minutes(1),
                              [] { return true; }));
        receiver.wait_for_receipt(update.object.id);
        bytes += kUpdateBytes;
      }
      return bytes;
    });
  }
  std::filesystem::remove_all(folder);
  return rate;
}

// As segments are written: chunks into space of one file that is used again and again, write-back begun early, a sync a
// body.
double disk(const std::string& folder, double seconds) {
  coordinator::FileSystem& files = coordinator::posix_files();
  const std::string path = folder + "/rate";
  must(files.remove(path));
  const std::unique_ptr<coordinator::File> file = must(files.create(path));
  must(file->allocate(0, kReleasedAtOnce * kUpdateBytes));
  const std::vector<std::byte> chunk(kChunkBytes);
  const double rate = measure("the disk, written and synced the same way", seconds, [&](std::size_t client, auto more) {
    std::uint64_t bytes = 0;
    for (std::uint64_t body = client; more(); body = (body + kClients) % kReleasedAtOnce) {
      const std::uint64_t begin = body * kUpdateBytes;
      std::uint64_t written_back = 0;
      for (std::uint64_t at = 0; at < kUpdateBytes; at += chunk.size()) {
        must(file->write(begin + at, std::span(chunk).first(std::min<std::uint64_t>(chunk.size(), kUpdateBytes - at))));
        if (at + chunk.size() - written_back < (1 << 20)) continue;
        file->start_writeback(begin + written_back, at + chunk.size() - written_back);
        written_back = at + chunk.size();
      }
      must(file->sync());
      bytes += kUpdateBytes;
    }
    return bytes;
  });
  must(files.remove(path));
  return rate;
}

// Messages of a chunk's size, PUSH to PULL, one connection a client.
double plain_zeromq(double seconds) {
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
  const double rate = measure("plain ZeroMQ, PUSH to PULL", seconds, [&](std::size_t, auto more) {
    void* const push = zmq_socket(context, ZMQ_PUSH);
    const int window = 8;
    zmq_setsockopt(push, ZMQ_SNDHWM, &window, sizeof window);
    zmq_connect(push, endpoint);
    std::uint64_t bytes = 0;
    while (more()) {
      zmq_msg_t message;
      zmq_msg_init_data(&message, chunk.data(), chunk.size(), nullptr, nullptr);
      if (zmq_msg_send(&message, push, 0) >= 0) bytes += kChunkBytes;
    }
    zmq_close(push);
    return bytes;
  });
  over = true;
  receiver.join();
  zmq_close(pull);
  zmq_ctx_term(context);
  return rate;
}

}  // namespace
}  // namespace shoal::bench

int main(int argc, char** argv) {
  shoal::cli::keep_heap_steady();  // as the coordinator does
  const std::string folder = argc > 1 ? argv[1] : ".";
  const double seconds = argc > 2 ? std::atof(argv[2]) : 10;
  if (seconds <= 0) {
    std::fprintf(stderr, "usage: ingest_bench [FOLDER] [SECONDS]\n");
    return 2;
  }
  using namespace shoal::bench;
  const double disk_rate = disk(folder, seconds), wire_rate = plain_zeromq(seconds);
  const double rate = ingest(folder + "/ingest", seconds);
  std::printf("ingest is %.0f %% of the smaller of disk and plain ZeroMQ\n",
              100 * rate / std::min(disk_rate, wire_rate));
  return 0;
}
