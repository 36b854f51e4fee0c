// The store against the disk under it: `store_bench [FOLDER]` ingests synced bodies, and writes the same bytes plainly,
// by turns.
//
// Plain is one file a body: write everything, then fdatasync. Both sides send 4 MB bodies from 8 threads.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "base/check.h"
#include "coordinator/rocksdb/store.h"

namespace shoal::bench {
namespace {

using SteadyClock = std::chrono::steady_clock;
using namespace coordinator;

constexpr int kThreads = 8, kBodies = 64, kTurns = 3, kAppends = 2000;
constexpr std::uint64_t kBodyBytes = 4'000'000;

double seconds_since(SteadyClock::time_point begin) {
  return std::chrono::duration<double>(SteadyClock::now() - begin).count();
}

// Runs `send(body)` for every body, on kThreads threads; GB/s.
template <class Send>
double rate(Send send) {
  std::atomic<int> next = 0;
  const auto begin = SteadyClock::now();
  {
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < kThreads; ++thread)
      threads.emplace_back([&] {
        for (int body = next++; body < kBodies; body = next++) send(body);
      });
  }
  return kBodies * static_cast<double>(kBodyBytes) / 1e9 / seconds_since(begin);
}

// The store never looks into a body while it is received: these bytes need not open.
double ingest(BodyStore& bodies, std::uint64_t first_id, std::span<const std::byte> chunk) {
  return rate([&](int body) {
    const AssignmentId id{first_id + static_cast<std::uint64_t>(body)};
    protocol::ObjectInfo object;
    object.id = id.value;
    object.bytes = kBodyBytes;
    bodies.open(id, object).value();
    for (std::uint32_t c = 0; c < object.chunks(); ++c)
      bodies.write(id, c, chunk.first(object.sealed_bytes(c))).value();
    bodies.sync(id).value();
  });
}

double write_plainly(const std::string& folder, std::span<const std::byte> chunk) {
  return rate([&](int body) {
    const std::string path = folder + "/plain" + std::to_string(body);
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    SHOAL_CHECK(fd >= 0, "cannot create " + path);
    for (std::uint64_t done = 0; done < kBodyBytes;) {
      const ssize_t n = ::write(fd, chunk.data(), std::min<std::uint64_t>(chunk.size(), kBodyBytes - done));
      SHOAL_CHECK(n > 0, "cannot write to " + path);
      done += static_cast<std::uint64_t>(n);
    }
    SHOAL_CHECK(::fdatasync(fd) == 0, "cannot sync " + path);
    ::close(fd);
  });
}

double appends_per_second(Journal& journal, std::uint64_t events_each) {
  std::uint64_t sequence = 0;
  std::vector<JournalRecord> records(events_each);
  const auto begin = SteadyClock::now();
  for (int i = 0; i < kAppends; ++i) {
    for (JournalRecord& record : records) {
      record.sequence = ++sequence;
      record.event = event::UpdateReceived{};
    }
    journal.append(records).value();
  }
  return kAppends / seconds_since(begin);
}

void run(const std::string& folder) {
  StoreOptions options;
  options.path = folder + "/data";
  options.build = "bench";
  auto opened = open_store(options);
  SHOAL_CHECK(opened.ok(), opened.error().to_string());
  const Store store = std::move(*opened);
  const std::vector<std::byte> chunk(protocol::kChunkBytes + protocol::kTagBytes, std::byte{0x5A});

  std::vector<double> segments, plain, release;
  for (int turn = 0; turn < kTurns; ++turn) {
    segments.push_back(ingest(*store.bodies, static_cast<std::uint64_t>(turn * kBodies + 1), chunk));
    const auto begin = SteadyClock::now();
    store.bodies->release(store.bodies->held()).value();
    release.push_back(seconds_since(begin));
    plain.push_back(write_plainly(folder, chunk));
    for (int body = 0; body < kBodies; ++body) std::filesystem::remove(folder + "/plain" + std::to_string(body));
  }
  const auto median = [](std::vector<double>& v) {
    std::sort(v.begin(), v.end());
    return v[v.size() / 2];
  };
  const double ours = median(segments), disk = median(plain);
  std::printf("bodies   %.3f GB/s   plain write and fdatasync %.3f GB/s   ratio %.2f\n", ours, disk, ours / disk);
  std::printf("release  %.2f ms a body of 4 MB\n", median(release) * 1e3 / kBodies);
  for (const std::uint64_t events : {1, 10})
    std::printf("journal  %.0f synced appends/s of %d event%s\n", appends_per_second(*store.journal, events),
                static_cast<int>(events), events == 1 ? "" : "s");
}

}  // namespace
}  // namespace shoal::bench

int main(int argc, char** argv) {
  std::string folder = (std::filesystem::path(argc > 1 ? argv[1] : ".") / "store-bench-XXXXXX").string();
  if (!::mkdtemp(folder.data())) {
    std::fprintf(stderr, "store_bench: cannot make a folder in %s\n", folder.c_str());
    return 2;
  }
  shoal::bench::run(folder);
  std::filesystem::remove_all(folder);
  return 0;
}
