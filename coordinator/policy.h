// When updates are folded, with which weights, and who works next: the one interface of all aggregation policies.
//
// A policy is a deterministic object in virtual time. It is told what happened and answers with Decisions; the machine
// keeps the assignments, leases, model versions and folds. Every policy fits the form
//   x <- ServerOpt(x, scale * sum over entries of weight_e * delta_e).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/archive.h"
#include "base/ids.h"
#include "base/time.h"
#include "coordinator/device_set.h"
#include "coordinator/job_spec.h"
#include "protocol/facts.h"
#include "protocol/refusal.h"

namespace shoal::coordinator {

// An update that was received and not yet folded.
struct Entry {
  AssignmentId assignment;
  DeviceId device;
  Version base = 0;           // the version it was trained from
  std::uint64_t samples = 0;  // n_e
  std::uint64_t steps = 0;    // tau_e
  Time assigned{}, received{};
  double loss = 0;
  std::uint8_t plan = 0;  // what it trained; of the job's plans, by place
  template <class A>
  void fields(A& a) {
    a(assignment, device, base, samples, steps, assigned, received, loss, plan);
  }
};

// What a policy may see of its job and of the devices, within one call.
struct PolicyView {
  Time now{};
  Version version = 0;    // the newest committed model
  bool folding = false;   // a fold was asked for and is not committed yet
  const DeviceSet& idle;  // online, without work from any job, with memory for a plan of this one; empty while the
                          // job may not assign
};

// Local work for one device, from the newest version.
struct Dispatch {
  DeviceId device;
  std::uint32_t steps = 0;  // 0: training.epochs epochs
  Duration lease{};         // the assignment is void this long after it was made
};

// Only the policy knows what its keys mean. Setting a key again moves its timer.
struct PolicyTimer {
  std::uint64_t key = 0;
  Time at{};
};

struct WeightedEntry {
  AssignmentId assignment;
  double weight = 0;  // finite, >= 0; rounded to 2^-16 once, by the machine
};

// x <- ServerOpt(x, scale * sum weight * delta). Entries with weight 0 are allowed and merely released.
struct Aggregate {
  std::vector<WeightedEntry> entries;  // not empty
  double scale = 0;                    // finite, > 0
  std::uint32_t outstanding = 0;       // of the round, for the log: assigned and not heard of
};

// One turn's answer. Carried out in this order: refuse, fold, assign, timers.
struct Decisions {
  std::vector<std::pair<AssignmentId, protocol::Refusal>> refuse;  // received updates (also the one being told of)
  std::vector<std::pair<AssignmentId, protocol::Refusal>> revoke;  // open assignments whose work is no longer wanted
  std::optional<Aggregate> fold;                                   // only while !view.folding
  std::vector<Dispatch> assign;                                    // idle devices, each once
  std::vector<PolicyTimer> set;
  std::vector<std::uint64_t> cancel;
  bool opened = false;     // `assign` opens a round, for the log
  bool abandoned = false;  // a round was given up without a fold, for the log
};

class Policy {
 public:
  virtual ~Policy() = default;

  // A device became idle, storage recovered, or the job began. Also called after on_committed.
  virtual Decisions on_idle(const PolicyView& view) = 0;
  // `entry` was admitted. Unless refused here it belongs to the policy until it is folded or refused.
  // Its device is idle already.
  virtual Decisions on_update(const Entry& entry, const PolicyView& view) = 0;
  virtual Decisions on_timer(std::uint64_t key, const PolicyView& view) = 0;
  // The assignment ended without an update: lease expired, device lost or failed. Not called for revoked ones. The
  // device pauses before it is idle again. on_idle follows.
  virtual Decisions on_failure(AssignmentId assignment, DeviceId device, const PolicyView& view) = 0;
  // The fold is durable; view.version is the new version. on_idle follows.
  virtual Decisions on_committed(const PolicyView& view) = 0;
  // An assignment asked for in Decisions::assign got this id (or none: the device was taken meanwhile, which is a bug).
  virtual void on_assigned(AssignmentId assignment, const Dispatch& dispatch, const PolicyView& view) = 0;

  // Idle devices without which no more work begins, for people to see; 0 while the job does not wait for devices.
  virtual std::size_t devices_wanted(const PolicyView& view) const = 0;

  // The complete state; load() is called on a fresh object made from the same options.
  virtual void save(Encoder& encoder) const = 0;
  virtual void load(Decoder& decoder) = 0;
};

// Is there such a policy? Bytes from a disk may say anything.
inline bool known(PolicyKind kind) { return kind <= PolicyKind::kFedCompass; }

// The catalogue: one switch in policy.cpp. `spec` is copied as far as needed.
std::unique_ptr<Policy> make_policy(const JobSpec& spec);

// Staleness weight (1 + staleness)^-a: never grows. s(3) = 0.5 at a = 0.5.
double staleness_weight(Version now, Version base, double exponent);

// The weights of a plain average over `entries`, each with its own factor (staleness, samples): weight_e = factor_e and
// scale = 1 / normaliser; with spec.weigh_steps FedNova's (aggregation/fednova.h). `factors` is as long as `entries`.
Aggregate weighted_mean(const JobSpec& spec, std::span<const Entry> entries, std::span<const double> factors,
                        double normaliser);

}  // namespace shoal::coordinator
