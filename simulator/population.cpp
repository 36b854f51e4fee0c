#include "simulator/population.h"

#include <algorithm>
#include <cmath>

namespace shoal::simulator {

Result<std::vector<Bytes>> parse_budgets(std::string_view text) {
  std::vector<Bytes> budgets;
  for (std::size_t begin = 0; !text.empty() && begin <= text.size();) {
    const std::size_t first = text.find_first_not_of(' ', begin);
    const std::size_t end = std::min(text.find(',', begin), text.size());
    auto budget = parse_bytes(text.substr(std::min(first, end), end - std::min(first, end)));
    if (!budget.ok()) return std::move(budget).error().because_of_this("population.budgets");
    budgets.push_back(*budget);
    begin = end + 1;
  }
  return budgets;
}

std::uint64_t Population::budget(DeviceId device) const {
  return budgets_.empty() ? 0 : budgets_[(device.value - 1) % budgets_.size()].count;
}

DeviceProfile Population::profile(DeviceId device) const {
  Stream stream(seed_, "device", device.value);
  DeviceProfile profile;
  profile.step_seconds = options_.step_seconds.draw(stream);
  profile.download = options_.download.draw(stream);
  profile.upload = options_.upload.draw(stream);
  profile.latency = options_.latency.draw(stream);
  return profile;
}

std::uint64_t Population::samples(DeviceId device) const {
  Stream stream(seed_, "samples", device.value);
  return std::max<std::uint64_t>(1, static_cast<std::uint64_t>(std::llround(options_.samples.draw(stream))));
}

Duration Population::compute_time(const DeviceProfile& profile, std::uint64_t steps, AssignmentId assignment) const {
  const auto n = static_cast<double>(steps);
  double factor = 1;
  if (options_.jitter > 0 && steps > 0) {
    Stream stream(seed_, "jitter", assignment.value);
    factor = std::max(0.01, 1 + options_.jitter / std::sqrt(n) * stream.normal());
  }
  return from_seconds(n * profile.step_seconds * factor);
}

double Population::vanishes_at(AssignmentId assignment, std::uint32_t attempt) const {
  if (options_.availability.drop_out <= 0) return 1;
  Stream stream(seed_, "drop-out", assignment.value, attempt);
  return stream.uniform() < options_.availability.drop_out ? stream.uniform() : 1;
}

Duration Population::absence(AssignmentId assignment) const {
  Stream stream(seed_, "absence", assignment.value);
  return from_seconds(options_.availability.absence.draw(stream));
}

Duration Population::period(DeviceId device, std::uint64_t n) const {
  Stream stream(seed_, "period", device.value, n);
  return from_seconds((n % 2 == 0 ? options_.availability.online : options_.availability.offline).draw(stream));
}

Population::Beginning Population::beginning(DeviceId device) const {
  if (always_online()) return {};
  Stream stream(seed_, "beginning", device.value);
  const double online = options_.availability.online.mean, offline = options_.availability.offline.mean;
  Beginning beginning;
  beginning.online = stream.uniform() * (online + offline) < online;
  beginning.left = from_seconds(to_seconds(period(device, beginning.online ? 0 : 1)) * (1 - stream.uniform()));
  return beginning;
}

Duration transfer_time(std::uint64_t bytes, double bytes_per_second, double latency_seconds) {
  const double transfer = bytes_per_second > 0 ? static_cast<double>(bytes) / bytes_per_second : 0;
  return from_seconds(latency_seconds + transfer);
}

}  // namespace shoal::simulator
