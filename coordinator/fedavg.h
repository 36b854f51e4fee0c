// Synchronous rounds: a cohort is sampled, trains from one version, and is folded when enough updates are in.
//
// McMahan et al. 2017; over-selection, reporting deadline and abandoned rounds as in Bonawitz et al. 2019.
//   open   : enough devices are idle -> invite ceil((cohort - carried) * over_selection) of them, or all that there are
//            if min_devices says that those are enough: then they are the round's cohort
//   close  : the cohort's updates are in, or the deadline passed (or nobody is left to wait for) with at least
//            min_fraction of it
//   abandon: fewer; what did arrive is carried into the next round, since the model did not change
// A device whose update waits is not invited again: from the same model it would do the same work. A device that fails
// is replaced by an idle one within the same deadline, at most cohort times a round. After an abandoned round the next
// one waits, longer each time, so that a fleet that cannot do the work is not asked without pause.
#pragma once

#include <map>
#include <set>
#include <vector>

#include "coordinator/policy.h"

namespace shoal::coordinator {

class FedAvg final : public Policy {
 public:
  explicit FedAvg(const JobSpec& spec) : spec_(spec) {}

  Decisions on_idle(const PolicyView& view) override;
  Decisions on_update(const Entry& entry, const PolicyView& view) override;
  Decisions on_timer(std::uint64_t key, const PolicyView& view) override;
  Decisions on_failure(AssignmentId assignment, DeviceId device, const PolicyView& view) override;
  Decisions on_committed(const PolicyView& view) override;
  void on_assigned(AssignmentId assignment, const Dispatch& dispatch, const PolicyView& view) override;
  std::size_t devices_wanted(const PolicyView& view) const override;
  void save(Encoder& encoder) const override { encoder(state_); }
  void load(Decoder& decoder) override { decoder(state_); }

 private:
  struct State {
    bool open = false;
    std::uint64_t round = 0;   // rounds opened so far; counts the draws and names the deadline's timer
    std::uint32_t cohort = 0;  // of the open round: updates that close it
    Time deadline{};
    std::set<AssignmentId> outstanding;  // of the open round
    std::set<AssignmentId> stragglers;   // of closed rounds, still welcome (late = keep)
    std::vector<Entry> entries;          // received, not folded
    std::vector<Entry> late;             // kept for the next close
    std::uint32_t replaced = 0;          // devices, in the open round
    std::uint32_t abandoned = 0;         // rounds in a row
    Time not_before{};                   // the next round opens at the earliest then
    Duration slowest{};                  // decaying maximum of what devices took
    template <class A>
    void fields(A& a) {
      a(open, round, cohort, deadline, outstanding, stragglers, entries, late, replaced, abandoned, not_before,
        slowest);
    }
  };

  bool may_open(const PolicyView& view) const;
  std::size_t invited() const;
  std::size_t needed() const;
  std::size_t free_devices(const PolicyView& view) const;
  DeviceSet without_update(const DeviceSet& idle) const;
  Duration round_time() const;
  Duration lease(Duration until_deadline) const;
  Decisions close(const PolicyView& view);
  Decisions abandon(const PolicyView& view);
  Decisions settle(const PolicyView& view, bool out_of_time);

  JobSpec spec_;
  State state_;
};

}  // namespace shoal::coordinator
