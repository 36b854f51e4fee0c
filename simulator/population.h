// The fleet: what every virtual device is like. A pure function of (options, seed, device), so an idle device costs no
// memory.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/options.h"
#include "base/result.h"
#include "base/time.h"
#include "base/units.h"
#include "simulator/distribution.h"

namespace shoal::simulator {

struct AvailabilityOptions {
  Distribution online{.kind = DistributionKind::kExponential, .mean = 0};   // seconds; 0: always online
  Distribution offline{.kind = DistributionKind::kExponential, .mean = 0};  // seconds
  double drop_out = 0;                                                      // share of assignments that are lost midway
  Distribution absence{.kind = DistributionKind::kExponential, .mean = 60};  // seconds until such a device is back

  template <class Visitor>
  void visit(Visitor& v) {
    v("online", online, any, "Seconds that a device stays online; mean 0 is always");
    v("offline", offline, any, "Seconds that it then stays away");
    v("drop_out", drop_out, between(0.0, 1.0),
      "Share of the assignments whose device vanishes midway and forgets its work");
    v("absence", absence, any, "Seconds until a device that dropped out is back");
  }
  template <class Archive>
  void fields(Archive& a) {
    a(online, offline, drop_out, absence);
  }
};

struct PopulationOptions {
  std::uint32_t devices = 0;                // 0: one for every client of the partition
  Distribution step_seconds{.mean = 0.01};  // compute time of one local step
  double jitter = 0.05;                     // of a single step, as a share of its time
  Distribution download{.mean = 10e6};      // bytes per second; 0: no limit
  Distribution upload{.mean = 2e6};         // bytes per second; 0: no limit
  Distribution latency{.mean = 0.05};       // seconds before the first byte, one way
  Distribution samples{.mean = 600};        // training examples of a device, where there is no real data
  std::string budgets;                      // bytes for training, of classes of devices in turn; empty: no limit
  AvailabilityOptions availability;

  template <class Visitor>
  void visit(Visitor& v) {
    v("devices", devices, between(0u, 100000000u), "Virtual devices; 0 is one for every client of the data partition");
    v("step_seconds", step_seconds, any, "Seconds that a device needs for one local step");
    v("jitter", jitter, between(0.0, 1.0), "Standard deviation of one step's time, as a share of it");
    v("download", download, any, "Bytes per second to a device; mean 0 is no limit");
    v("upload", upload, any, "Bytes per second from a device; mean 0 is no limit");
    v("latency", latency, any, "Seconds before the first byte of a transfer");
    v("samples", samples, any, "Training examples of a device, where the experiment has no data");
    v("budgets", budgets, any,
      "Memory that devices may train in, for classes of devices in turn, as in 2MB, 8MB, 40MB; empty is no limit");
    v("availability", availability, any, "When devices are there");
  }
  template <class Archive>
  void fields(Archive& a) {
    a(devices, step_seconds, jitter, download, upload, latency, samples, budgets, availability);
  }
};

// Sizes between commas; none for empty text. kInvalid.
Result<std::vector<Bytes>> parse_budgets(std::string_view text);

// What does not change about a device.
struct DeviceProfile {
  double step_seconds = 0;
  double download = 0, upload = 0;  // bytes per second; 0: no limit
  double latency = 0;               // seconds
};

// Devices are numbered 1 .. size(). Immutable; safe to share between threads.
// A trace of real devices would be another source of the same four answers.
class Population {
 public:
  // `options.budgets` has been checked: parse_budgets().
  Population(const PopulationOptions& options, std::uint64_t seed)
      : options_(options), budgets_(parse_budgets(options.budgets).value()), seed_(seed) {}

  std::uint32_t size() const { return options_.devices; }
  DeviceProfile profile(DeviceId device) const;
  // Bytes that the device may train in; 0: no limit.
  std::uint64_t budget(DeviceId device) const;
  // Training examples where no data set gives them.
  std::uint64_t samples(DeviceId device) const;

  // Time to compute `steps` steps for one assignment: the jitter of independent steps, drawn in one go.
  Duration compute_time(const DeviceProfile& profile, std::uint64_t steps, AssignmentId assignment) const;
  // Where in its work (a fraction) the device of this assignment vanishes; at least 1: it does not.
  double vanishes_at(AssignmentId assignment, std::uint32_t attempt) const;
  Duration absence(AssignmentId assignment) const;

  // Whether devices come and go at all.
  bool always_online() const { return options_.availability.online.mean <= 0; }
  // Length of a device's n-th period, n = 0, 1, ...; even periods are online, odd ones offline.
  Duration period(DeviceId device, std::uint64_t n) const;
  // How much of the first, online, period is over when the world begins; a device may also begin offline.
  struct Beginning {
    bool online = true;
    Duration left = Duration::max();
  };
  Beginning beginning(DeviceId device) const;

 private:
  PopulationOptions options_;
  std::vector<Bytes> budgets_;
  std::uint64_t seed_;
};

// latency + bytes / rate.
Duration transfer_time(std::uint64_t bytes, double bytes_per_second, double latency_seconds);

}  // namespace shoal::simulator
