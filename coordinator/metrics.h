// Counters and gauges of the service, rendered in Prometheus' text format.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <string_view>

namespace shoal::coordinator {

// What tells the samples of one metric apart. The value may be any text.
struct Label {
  std::string_view name, value;
};

// Thread-safe. Names carry their unit ("shoal_bulk_received_bytes_total").
class Metrics {
 public:
  void add(std::string_view name, double amount = 1, Label label = {});
  void set(std::string_view name, double value, Label label = {});
  double value(std::string_view name, Label label = {}) const;
  // Text exposition format, version 0.0.4. Names ending in _total are counters, the others gauges.
  std::string render() const;

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::map<std::string, double, std::less<>>, std::less<>>
      families_;  // by name, then by the text between the braces
};

}  // namespace shoal::coordinator
