// Thousands of connections that never say a word, against both ports of a real coordinator that goes on working.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <utility>
#include <vector>

#include "tests/support/federation.h"

namespace shoal::testing {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;
constexpr std::size_t kHalfOpen = 2000;   // on each port
constexpr std::size_t kDescriptors = 64;  // of the coordinator besides

// Closed with the object.
class SilentConnections {
 public:
  SilentConnections(const std::string& endpoint, std::size_t count) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(std::stoi(endpoint.substr(endpoint.rfind(':') + 1))));
    for (std::size_t i = 0; i < count; ++i) {
      const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      sockets_.push_back(socket);
      if (::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        throw std::runtime_error("cannot connect to " + endpoint);
    }
  }
  ~SilentConnections() {
    for (const int socket : sockets_) ::close(socket);
  }
  SilentConnections(const SilentConnections&) = delete;
  SilentConnections& operator=(const SilentConnections&) = delete;

 private:
  std::vector<int> sockets_;
};

bool raise_descriptor_limit(rlim_t wanted) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_max < wanted) return false;
  limit.rlim_cur = std::max(limit.rlim_cur, wanted);
  return ::setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

std::size_t open_descriptors(pid_t pid) {
  const std::filesystem::directory_iterator entries("/proc/" + std::to_string(pid) + "/fd"), end;
  return static_cast<std::size_t>(std::distance(entries, end));
}

TEST(HalfOpen, ThousandsOfSilentConnectionsCostNobodyElseAnything) {
  if (!raise_descriptor_limit(2 * kHalfOpen + 256))
    GTEST_SKIP() << "the limit of open files is below " << 2 * kHalfOpen + 256 << "; raise it with ulimit -Hn";
  Federation federation;
  federation.start_coordinator();
  write_model(federation.path("model.safetensors"), 1000);
  const pid_t pid = federation.coordinator().pid();
  const std::size_t before = open_descriptors(pid);
  std::uint64_t peaks[2] = {};
  for (std::uint64_t& peak : peaks) {
    {
      const SilentConnections control(federation.control(), kHalfOpen), bulk(federation.bulk(), kHalfOpen);
      federation.await("the connections", [&] { return open_descriptors(pid) >= before + 2 * kHalfOpen; });
      federation.add_client();  // enrols, and comes online
      const std::uint64_t job = federation.submit("name = \"amid\"\nrounds = 3\n[fedavg]\ncohort = 1\n",
                                                  federation.path("model.safetensors"));
      EXPECT_EQ(federation.await_end(job).at("status"), "completed");
      EXPECT_EQ(federation.get("/readyz").status, 200);
      EXPECT_LE(open_descriptors(pid), before + 2 * kHalfOpen + kDescriptors);
      // Whoever has not shaken hands in time is hung up on, though it stays.
      federation.await("their end", [&] { return open_descriptors(pid) <= before + kDescriptors; });
      peak = federation.coordinator().peak_memory();
    }
  }
  std::printf("peak memory of the coordinator: %.1f MiB after %zu silent connections, %.1f MiB after as many again\n",
              static_cast<double>(peaks[0]) / kMiB, 2 * kHalfOpen, static_cast<double>(peaks[1]) / kMiB);
#ifdef SHOAL_SANITIZED
  GTEST_SKIP() << "all but the limit was tested: a sanitizer takes memory of its own";
#endif
  EXPECT_LT(peaks[0], 128 * kMiB);
  EXPECT_LT(peaks[1], peaks[0] + 16 * kMiB) << "what a silent connection takes is not given back";
}

}  // namespace
}  // namespace shoal::testing
