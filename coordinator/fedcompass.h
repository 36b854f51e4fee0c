// Semi-asynchronous groups: devices get local steps such that a group of them arrives together.
//
// Li et al. 2024 (FedCompass). A device's speed (seconds a local step, transfer included) is estimated from what it
// returns.
//   assign : join the open group in which the device can make the most steps by the time the group is expected, within
//            [min_steps, max_steps]; else begin a group that meets another one's next return; else one with max_steps
//   arrive : in time: the device waits, idle, until its group is folded; the last member closes the group
//            late: kept in the general buffer, folded with the next group; the device gets new work at once
//   close  : when all have arrived, or at the latest arrival time; general buffer and group are folded, then the
//   members are
//            assigned again from the new version, fastest first, and none of them into the group that closed
// A device of unknown speed makes max_steps outside every group and is folded alone. x <- x + alpha/m sum s(staleness)
// delta.
//
// Folds take time: closed groups queue while one is on its way, their members wait. A device that waits is idle: other
// work (another job's, an evaluation) may take it, and it may go away. It then gives up its place to an idle device at
// once; its update stays, and when it is idle again it takes a free place with the speed that is known of it.
//
// A device that does not return is dead: it loses its assignment and leaves its group, and an idle one takes its place.
// That is after twice its latest time, 2 * latest_factor * steps * speed, and not before 10 s: a hiccup is no death.
// One of unknown speed, for which nobody waits, has an hour, or that multiple of the slowest known speed if it is
// longer; twice as long after each death in a row, up to 2^10 times.
#pragma once

#include <map>
#include <set>
#include <vector>

#include "coordinator/policy.h"

namespace shoal::coordinator {

class FedCompass final : public Policy {
 public:
  explicit FedCompass(const JobSpec& spec) : spec_(spec) {}

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
  using GroupId = std::uint64_t;  // also names the group's timer; 0 = none

  enum class Place : std::uint8_t { kFree, kTraining, kHeld };
  struct Client {
    Place place = Place::kFree;  // training: has an assignment; held: waits for a fold
    double speed = 0;            // seconds a local step; 0 = unknown
    std::uint32_t steps = 0;     // of the assignment
    std::uint32_t failures = 0;  // since its last update
    AssignmentId assignment;
    GroupId group = 0;
    template <class A>
    void fields(A& a) {
      a(place, speed, steps, failures, assignment, group);
    }
  };
  struct Group {
    bool closed = false;            // kept only while members are still out
    Time expected{}, latest{};      // arrival of all members
    std::set<DeviceId> out;         // members that train
    std::vector<DeviceId> arrived;  // members that wait
    std::vector<Entry> buffer;      // theirs
    template <class A>
    void fields(A& a) {
      a(closed, expected, latest, out, arrived, buffer);
    }
  };
  // A closed group, or a single update, on its way into the model.
  struct Pending {
    std::vector<Entry> entries;
    std::vector<DeviceId> held;
    template <class A>
    void fields(A& a) {
      a(entries, held);
    }
  };
  struct State {
    bool started = false;
    std::uint64_t draws = 0;
    GroupId last_group = 0;
    std::map<DeviceId, Client> clients;
    std::map<GroupId, Group> groups;
    std::vector<Entry> general;    // late updates
    std::vector<Pending> pending;  // the first one is being folded while view.folding
    template <class A>
    void fields(A& a) {
      a(started, draws, last_group, clients, groups, general, pending);
    }
  };

  void measure(Client& client, const Entry& entry) const;
  void leave_group(DeviceId device, Decisions& decisions);
  void close(GroupId id, Decisions& decisions);
  void give_up_taken(const PolicyView& view);
  void start_fold(const PolicyView& view, Decisions& decisions);
  void fill_places(const PolicyView& view, Decisions& decisions);
  void assign(DeviceId device, const PolicyView& view, Decisions& decisions);
  bool join(DeviceId device, Time now);
  void begin_group(DeviceId device, Time now, Decisions& decisions);
  Duration lease(const Client& client) const;
  std::size_t taken() const;

  JobSpec spec_;
  State state_;
};

}  // namespace shoal::coordinator
