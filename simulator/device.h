// One device at work: when it has downloaded, trained and uploaded, and what it has moved over the network by then.
#pragma once

#include <cstdint>

#include "base/time.h"
#include "protocol/facts.h"
#include "simulator/population.h"

namespace shoal::simulator {

struct Traffic {
  std::uint64_t down = 0, up = 0;  // bytes, sealed
  template <class A>
  void fields(A& a) {
    a(down, up);
  }
};

// An assignment on its way through a device. The plan is made when the assignment arrives; a device that goes offline
// stands still, and continues where it was.
class Work {
 public:
  Work() = default;
  // Sizes in bytes; `steps` local steps (0 for an evaluation, which uploads nothing to speak of). `attempt` differs
  // when a device that lost its work is given it again.
  Work(const Population& population, DeviceId device, const protocol::Assignment& assignment, std::uint64_t steps,
       Traffic sizes, Time now, std::uint32_t attempt);

  const protocol::Assignment& assignment() const { return assignment_; }
  std::uint64_t steps() const { return steps_; }
  Duration trained() const { return computed_ - downloaded_; }

  // What happens next if nothing interferes: the delivery, or the moment at which the device vanishes with its work.
  Time next() const { return vanishes() ? vanishes_ : delivered_; }
  bool vanishes() const { return vanishes_ < delivered_; }

  void pause(Time now) { paused_ = now; }
  void resume(Time now);
  bool paused() const { return paused_ != kNever; }

  // Moved, and local steps made, until `now`.
  Traffic traffic(Time now) const;
  double steps_made(Time now) const;

  template <class A>
  void fields(A& a) {
    a(assignment_, steps_, sizes_, assigned_, downloaded_, computed_, delivered_, vanishes_, paused_);
  }

 private:
  protocol::Assignment assignment_;
  std::uint64_t steps_ = 0;
  Traffic sizes_;
  Time assigned_{}, downloaded_{}, computed_{}, delivered_{};
  Time vanishes_ = kNever;
  Time paused_ = kNever;
};

// Local steps that `assignment` asks of a device with `samples` training examples.
std::uint64_t local_steps(const protocol::Assignment& assignment, std::uint64_t samples);

}  // namespace shoal::simulator
