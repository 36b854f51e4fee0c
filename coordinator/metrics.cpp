#include "coordinator/metrics.h"

#include <cstdio>

namespace shoal::coordinator {

void Metrics::add(std::string_view name, double amount, std::string_view labels) {
  const std::lock_guard lock(mutex_);
  families_[std::string(name)][std::string(labels)] += amount;
}

void Metrics::set(std::string_view name, double value, std::string_view labels) {
  const std::lock_guard lock(mutex_);
  families_[std::string(name)][std::string(labels)] = value;
}

double Metrics::value(std::string_view name, std::string_view labels) const {
  const std::lock_guard lock(mutex_);
  const auto family = families_.find(name);
  if (family == families_.end()) return 0;
  const auto sample = family->second.find(labels);
  return sample == family->second.end() ? 0 : sample->second;
}

std::string Metrics::render() const {
  const std::lock_guard lock(mutex_);
  std::string text;
  for (const auto& [name, samples] : families_) {
    text += "# TYPE " + name + (name.ends_with("_total") ? " counter\n" : " gauge\n");
    for (const auto& [labels, value] : samples) {
      char number[32];
      std::snprintf(number, sizeof number, "%.17g", value);
      text += name + (labels.empty() ? "" : "{" + labels + "}") + " " + number + "\n";
    }
  }
  return text;
}

}  // namespace shoal::coordinator
