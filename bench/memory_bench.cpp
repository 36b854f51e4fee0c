// Peak resident memory of a real coordinator and a real client: over many rounds, and with a model far larger than the
// limit.
//
//   memory_bench [rounds] [huge]     both without arguments; needs 20 GB of disk and 8 GB of memory for `huge`
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <exception>

#include "tests/support/federation.h"

namespace {

using namespace shoal;
using namespace shoal::testing;

double mib(std::uint64_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

// 1 M parameters, 20 clients: what rounds 30 to 300 need beyond rounds 1 to 30.
bool rounds() {
  constexpr Duration kLimit = std::chrono::minutes(20);
  Federation federation;
  federation.start_coordinator();
  for (int i = 0; i < 20; ++i) federation.add_client({"cache_quota=16MiB"});
  write_model(federation.path("model.safetensors"), 1'000'000);
  const std::uint64_t job =
      federation.submit("name = \"memory\"\nrounds = 300\n[fedavg]\ncohort = 20\ndeadline = \"1h\"\n",
                        federation.path("model.safetensors"));
  federation.await_version(job, 30, kLimit);
  struct Watched {
    const char* name;
    Process& process;
    std::uint64_t early = 0;
  } watched[] = {{"coordinator", federation.coordinator()}, {"client", federation.client(0)}};
  for (Watched& w : watched) {
    w.early = w.process.peak_memory();
    w.process.reset_peak();
  }
  const Json end = federation.await_end(job, kLimit);
  bool fine = end.at("status") == "completed";
  for (Watched& w : watched) {
    const std::uint64_t late = w.process.peak_memory();
    const bool steady = static_cast<double>(late) <= 1.02 * static_cast<double>(w.early) + (1 << 20);
    std::printf("%-12s peak over rounds 1 to 30: %.1f MiB, over rounds 30 to 300: %.1f MiB  %s\n", w.name, mib(w.early),
                mib(late), steady ? "ok" : "GROWS");
    fine &= steady;
  }
  return fine;
}

// A model of 1.2 GB, three clients, the coordinator killed while they upload.
bool huge() {
  constexpr Duration kLimit = std::chrono::minutes(20);
  constexpr std::uint64_t kBytes = 1'200'000'000, kMemory = std::uint64_t{256} << 20;
  Federation federation({"memory_limit=256MiB"});
  federation.start_coordinator();
  for (int i = 0; i < 3; ++i) federation.add_client({"cache_quota=4GiB"});
  write_model(federation.path("model.safetensors"), kBytes / sizeof(float));
  const std::uint64_t job = federation.submit("name = \"huge\"\nrounds = 1\n[fedavg]\ncohort = 3\ndeadline = \"10h\"\n",
                                              federation.path("model.safetensors"));
  const std::uint64_t imported = federation.coordinator().peak_memory();
  federation.await(
      "half of the uploads", [&] { return federation.metric("shoal_bulk_received_bytes_total") > 1.5 * kBytes; },
      kLimit);
  const std::uint64_t before = federation.coordinator().peak_memory();
  federation.kill_coordinator();
  federation.start_coordinator();
  const Json end = federation.await_end(job, kLimit);
  const std::uint64_t after = federation.coordinator().peak_memory();
  std::printf(
      "model of 1.2 GB: job %s; coordinator's peak %.1f MiB at the import, %.1f MiB until it was killed, %.1f MiB "
      "after; "
      "client's %.1f MiB\n",
      end.at("status").get<std::string>().c_str(), mib(imported), mib(before), mib(after),
      mib(federation.client(0).peak_memory()));
  return end.at("status") == "completed" && end.at("updates") == 3u && std::max(before, after) < kMemory;
}

}  // namespace

int main(int argc, char** argv) {
  const auto asked = [&](const char* name) {
    return argc == 1 ||
           std::any_of(argv + 1, argv + argc, [&](const char* word) { return std::strcmp(word, name) == 0; });
  };
  try {
    bool fine = true;
    if (asked("rounds")) fine &= rounds();
    if (asked("huge")) fine &= huge();
    return fine ? 0 : 1;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
