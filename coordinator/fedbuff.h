// Buffered asynchronous aggregation: `concurrency` devices always train, every K updates are folded together.
//
// Nguyen et al. 2022 (FedBuff): x <- x + eta/K * sum s(staleness) * delta, s(t) = (1 + t)^-a. A device that finished is
// replaced at once, by any idle device.
#pragma once

#include <set>
#include <vector>

#include "coordinator/policy.h"

namespace shoal::coordinator {

class FedBuff final : public Policy {
 public:
  explicit FedBuff(const JobSpec& spec) : spec_(spec) {}

  Decisions on_idle(const PolicyView& view) override;
  Decisions on_update(const Entry& entry, const PolicyView& view) override;
  Decisions on_timer(std::uint64_t, const PolicyView&) override { return {}; }
  Decisions on_failure(AssignmentId assignment, DeviceId device, const PolicyView& view) override;
  Decisions on_committed(const PolicyView& view) override;
  void on_assigned(AssignmentId assignment, const Dispatch& dispatch, const PolicyView& view) override;
  std::size_t devices_wanted(const PolicyView& view) const override {
    return state_.training.empty() && view.idle.empty() ? 1 : 0;
  }
  void save(Encoder& encoder) const override { encoder(state_); }
  void load(Decoder& decoder) override { decoder(state_); }

 private:
  struct State {
    std::set<AssignmentId> training;
    std::vector<Entry> buffer;  // in order of arrival; longer than K only while a fold is on its way
    std::uint64_t draws = 0;
    Duration slowest{};  // decaying maximum of what devices took
    template <class A>
    void fields(A& a) {
      a(training, buffer, draws, slowest);
    }
  };

  Decisions fold_if_full(const PolicyView& view);

  JobSpec spec_;
  State state_;
};

}  // namespace shoal::coordinator
