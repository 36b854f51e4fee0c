#include "coordinator/metrics.h"

#include <cstdio>

namespace shoal::coordinator {

namespace {

// As the text format wants it: backslash, quote and line feed are escaped in a label's value.
std::string text_of(Label label) {
  if (label.name.empty()) return {};
  std::string text = std::string(label.name) + "=\"";
  for (const char c : label.value) {
    if (c == '\\' || c == '"') text += '\\';
    text += c == '\n' ? std::string_view("\\n") : std::string_view(&c, 1);
  }
  return text + "\"";
}

}  // namespace

void Metrics::add(std::string_view name, double amount, Label label) {
  const std::lock_guard lock(mutex_);
  families_[std::string(name)][text_of(label)] += amount;
}

void Metrics::set(std::string_view name, double value, Label label) {
  const std::lock_guard lock(mutex_);
  families_[std::string(name)][text_of(label)] = value;
}

double Metrics::value(std::string_view name, Label label) const {
  const std::lock_guard lock(mutex_);
  const auto family = families_.find(name);
  if (family == families_.end()) return 0;
  const auto sample = family->second.find(text_of(label));
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
