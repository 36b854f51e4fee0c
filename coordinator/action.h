// Everything the machine asks of its shell. Actions are carried out only after the event that caused them is durable.
#pragma once

#include <map>
#include <string>
#include <variant>
#include <vector>

#include "aggregation/exact_sum.h"
#include "base/ids.h"
#include "protocol/facts.h"
#include "protocol/refusal.h"

namespace shoal::coordinator {

enum class JobStatus : std::uint8_t { kRunning = 0, kCompleted = 1, kStopped = 2, kFailed = 3 };

namespace action {

// Send this work. Sent again, unchanged, whenever the device reconnects without having finished it.
struct Assign {
  DeviceId device;
  protocol::Assignment assignment;
  template <class A>
  void fields(A& a) {
    a(device, assignment);
  }
};
// The answer to an update or evaluation: a receipt (kNone) or the reason why not.
struct Answer {
  DeviceId device;
  AssignmentId assignment;
  protocol::Refusal refusal = protocol::Refusal::kNone;
  template <class A>
  void fields(A& a) {
    a(device, assignment, refusal);
  }
};
// The assignment is void: tell the device, and drop what it has uploaded so far.
struct Revoke {
  DeviceId device;
  AssignmentId assignment;
  protocol::Refusal refusal = protocol::Refusal::kNone;
  template <class A>
  void fields(A& a) {
    a(device, assignment, refusal);
  }
};
// Make model `version` = optimizer(model version - 1, scale * sum of weight * delta), durably, then report
// event::Committed. Where only some entries trained a value the scale grows as if they were all; values that nobody
// trained stay. The shell's commit also releases the entries' bodies (unless the job retains them). One fold a job
// at a time.
struct Fold {
  struct Entry {
    AssignmentId assignment;
    aggregation::Weight weight;
    std::uint8_t plan = 0;  // of the job's, by place
    template <class A>
    void fields(A& a) {
      a(assignment, weight, plan);
    }
  };
  JobId job;
  Version version = 0;         // the version to make
  std::vector<Entry> entries;  // never empty
  double scale = 0;            // the fold's normalisation, > 0
  template <class A>
  void fields(A& a) {
    a(job, version, entries, scale);
  }
};
// These bodies will never be folded.
struct Discard {
  std::vector<AssignmentId> assignments;
  template <class A>
  void fields(A& a) {
    a(assignments);
  }
};
// Nothing refers to these model versions any more.
struct DropVersions {
  JobId job;
  std::vector<Version> versions;
  template <class A>
  void fields(A& a) {
    a(job, versions);
  }
};
struct JobEnded {
  JobId job;
  JobStatus status = JobStatus::kCompleted;
  std::string reason;
  template <class A>
  void fields(A& a) {
    a(job, status, reason);
  }
};

// The device has too little memory for every plan of the job, which leaves it out. Tell it.
struct PassOver {
  DeviceId device;
  JobId job;
  std::string plan;          // the one that needs least
  std::uint64_t memory = 0;  // bytes that it needs
  template <class A>
  void fields(A& a) {
    a(device, job, plan, memory);
  }
};

// For people and metrics; nothing depends on them.
struct RoundOpened {
  JobId job;
  Version base = 0;
  std::uint32_t sampled = 0, available = 0;
  template <class A>
  void fields(A& a) {
    a(job, base, sampled, available);
  }
};
struct RoundClosed {
  JobId job;
  Version version = 0;  // being made; 0 = abandoned
  std::uint32_t received = 0, failed = 0, outstanding = 0;
  std::map<protocol::Refusal, std::uint32_t> refused;
  double mean_loss = 0;       // of the folded updates, weighted by samples
  double mean_staleness = 0;  // versions
  template <class A>
  void fields(A& a) {
    a(job, version, received, failed, outstanding, refused, mean_loss, mean_staleness);
  }
};
struct Evaluated {
  JobId job;
  Version version = 0;
  std::uint32_t devices = 0;
  protocol::EvaluationFacts facts;  // sums over the devices
  template <class A>
  void fields(A& a) {
    a(job, version, devices, facts);
  }
};

}  // namespace action

using Action =
    std::variant<action::Assign, action::Answer, action::Revoke, action::Fold, action::Discard, action::DropVersions,
                 action::JobEnded, action::PassOver, action::RoundOpened, action::RoundClosed, action::Evaluated>;
using Actions = std::vector<Action>;

}  // namespace shoal::coordinator
