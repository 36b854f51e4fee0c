// Counters and gauges of the service, rendered in Prometheus' text format.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <string_view>

namespace shoal::coordinator {

// Thread-safe. Names carry their unit ("shoal_bulk_received_bytes_total"); `labels` is the text between the braces,
// e.g. reason="late".
class Metrics {
 public:
  void add(std::string_view name, double amount = 1, std::string_view labels = {});
  void set(std::string_view name, double value, std::string_view labels = {});
  double value(std::string_view name, std::string_view labels = {}) const;
  // Text exposition format, version 0.0.4. Names ending in _total are counters, the others gauges.
  std::string render() const;

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::map<std::string, double, std::less<>>, std::less<>> families_;
};

}  // namespace shoal::coordinator
