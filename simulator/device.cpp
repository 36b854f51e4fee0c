#include "simulator/device.h"

#include <algorithm>

namespace shoal::simulator {
namespace {

// The share of begin..end that is over at `now`.
double share(Time begin, Time end, Time now) {
  if (now >= end) return 1;
  if (now <= begin) return 0;
  return to_seconds(now - begin) / to_seconds(end - begin);
}

}  // namespace

Work::Work(const Population& population, DeviceId device, const protocol::Assignment& assignment, std::uint64_t steps,
           Traffic sizes, Time now, std::uint32_t attempt)
    : assignment_(assignment), steps_(steps), sizes_(sizes), assigned_(now) {
  const DeviceProfile profile = population.profile(device);
  downloaded_ = saturating_add(now, transfer_time(sizes.down, profile.download, profile.latency));
  computed_ = saturating_add(downloaded_, population.compute_time(profile, steps, assignment.id));
  delivered_ = saturating_add(computed_, transfer_time(sizes.up, profile.upload, profile.latency));
  const double at = population.vanishes_at(assignment.id, attempt);
  if (at < 1) vanishes_ = saturating_add(now, from_seconds(at * to_seconds(delivered_ - now)));
}

void Work::resume(Time now) {
  const Duration pause = now - paused_;
  for (Time* time : {&assigned_, &downloaded_, &computed_, &delivered_, &vanishes_})
    *time = saturating_add(*time, pause);
  paused_ = kNever;
}

Traffic Work::traffic(Time now) const {
  const Time at = std::min(now, paused_);
  const auto part = [&](std::uint64_t bytes, Time begin, Time end) {
    return static_cast<std::uint64_t>(static_cast<double>(bytes) * share(begin, end, at));
  };
  return {part(sizes_.down, assigned_, downloaded_), part(sizes_.up, computed_, delivered_)};
}

double Work::steps_made(Time now) const {
  return static_cast<double>(steps_) * share(downloaded_, computed_, std::min(now, paused_));
}

std::uint64_t local_steps(const protocol::Assignment& assignment, std::uint64_t samples) {
  if (assignment.kind == protocol::TaskKind::kEvaluate) return 0;
  if (assignment.steps > 0) return assignment.steps;
  const std::uint64_t batch = assignment.training.batch_size;
  return assignment.training.epochs * ((samples + batch - 1) / batch);
}

}  // namespace shoal::simulator
