// Round overhead: everything of a round but training, over loopback, with real service and client daemons.
//
//   round_bench [FOLDER] [MEMORY_FOLDER] [PARAMETERS...]
//       FOLDER is on the disk to measure (default .); MEMORY_FOLDER on a tmpfs (default /dev/shm), where the clients
//       live in either case; models of 100,000 and of 1,000,000 PARAMETERS by default
//
// The real store is put beside the disk's own rate for the same bytes in the same run: write, fdatasync.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "bench/federation.h"

namespace {

using shoal::bench::FederationOptions;

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Bytes a second of writing and syncing one file of `bytes`, as the store does.
double disk_rate(const std::string& folder, std::size_t bytes) {
  const std::string path = folder + "/rate";
  const std::vector<char> piece(1 << 18, 'x');
  std::vector<double> rates;
  for (int i = 0; i < 5; ++i) {
    const int file = ::open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    const auto begin = std::chrono::steady_clock::now();
    for (std::size_t done = 0; done < bytes; done += piece.size())
      if (::write(file, piece.data(), piece.size()) < 0) std::perror("write");
    ::fdatasync(file);
    rates.push_back(static_cast<double>(bytes) /
                    std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    ::close(file);
  }
  ::unlink(path.c_str());
  return median(rates);
}

struct Round {
  double wall_ms, cpu_ms;  // CPU of coordinator and clients together, over all processors
};

Round measure(const std::string& folder, const std::string& client_folder, bool real_store, std::size_t clients,
              std::uint64_t floats) {
  FederationOptions options;
  options.folder = folder;
  options.client_folder = client_folder;
  options.real_store = real_store;
  options.clients = clients;
  options.floats = floats;
  options.spec.name = "rounds";
  options.spec.rounds = 24;
  options.spec.fedavg.cohort = static_cast<std::uint32_t>(clients);
  shoal::bench::FederationResult result = shoal::bench::run_federation(options);
  std::vector<double>& seconds = result.round_seconds;
  seconds.erase(seconds.begin(), seconds.begin() + 3);  // connections and caches warm up
  return {1e3 * median(seconds), 1e3 * result.cpu_seconds / static_cast<double>(options.spec.rounds)};
}

}  // namespace

int main(int argc, char** argv) {
  const std::string disk = argc > 1 ? argv[1] : ".";
  const std::string memory = argc > 2 ? argv[2] : "/dev/shm";
  std::printf("median round of 20, 10 clients, f32, loopback\n%-12s %14s %14s %14s %14s %16s\n", "parameters",
              "CPU, in memory", "in memory", "real store", "difference", "bytes/disk rate");
  std::vector<std::uint64_t> sizes{100'000, 1'000'000};
  if (argc > 3) sizes.clear();
  for (int i = 3; i < argc; ++i) sizes.push_back(std::strtoull(argv[i], nullptr, 10));
  for (const std::uint64_t floats : sizes) {
    const Round in_memory = measure(memory, memory, false, 10, floats);
    const Round real = measure(disk, memory, true, 10, floats);
    // What a round makes the coordinator's disk write: ten bodies, the model and its sealed copy.
    const double bytes = static_cast<double>(floats) * 4 * 12;
    const double disk_ms = 1e3 * bytes / disk_rate(disk, static_cast<std::size_t>(bytes));
    std::printf("%-12llu %11.1f ms %11.1f ms %11.1f ms %11.1f ms %13.1f ms\n", static_cast<unsigned long long>(floats),
                in_memory.cpu_ms, in_memory.wall_ms, real.wall_ms, real.wall_ms - in_memory.wall_ms, disk_ms);
  }
  return 0;
}
