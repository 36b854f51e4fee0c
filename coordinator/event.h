// Everything that can happen to the machine. Events are journaled in the order in which they were stepped.
#pragma once

#include <string>
#include <variant>

#include "base/digest.h"
#include "base/ids.h"
#include "coordinator/job_spec.h"
#include "protocol/facts.h"
#include "protocol/refusal.h"

namespace shoal::coordinator {

namespace event {

// The initial model (version 0) is already durable.
struct JobSubmitted {
  JobId job;
  JobSpec spec;
  template <class A>
  void fields(A& a) {
    a(job, spec);
  }
};
struct JobStopRequested {
  JobId job;
  template <class A>
  void fields(A& a) {
    a(job);
  }
};
// The device came online, or said new facts. Not sent for every heartbeat: liveness is the shell's.
struct DeviceReady {
  DeviceId device;
  protocol::DeviceFacts facts;
  template <class A>
  void fields(A& a) {
    a(device, facts);
  }
};
// Its liveness lease ran out, it said goodbye, or it was revoked (then `revoked`, and its work is refused from here
// on).
struct DeviceLost {
  DeviceId device;
  bool revoked = false;
  template <class A>
  void fields(A& a) {
    a(device, revoked);
  }
};
// The body is durable, opened and well-formed: layout, finiteness and bound are checked.
struct UpdateReceived {
  DeviceId device;
  AssignmentId assignment;
  protocol::UpdateFacts facts;
  template <class A>
  void fields(A& a) {
    a(device, assignment, facts);
  }
};
struct EvaluationReceived {
  DeviceId device;
  AssignmentId assignment;
  protocol::EvaluationFacts facts;
  template <class A>
  void fields(A& a) {
    a(device, assignment, facts);
  }
};
// The device gave up, or its body failed the check before a receipt (`refusal` says which).
struct AssignmentFailed {
  DeviceId device;
  AssignmentId assignment;
  protocol::Refusal refusal = protocol::Refusal::kNone;  // kNone: the client's own failure, told in `reason`
  std::string reason;
  template <class A>
  void fields(A& a) {
    a(device, assignment, refusal, reason);
  }
};
// The fold that was asked for is durable as `version`. `norm` is the L2 norm of the model's change.
struct Committed {
  JobId job;
  Version version = 0;
  Digest digest;
  double norm = 0;
  template <class A>
  void fields(A& a) {
    a(job, version, digest, norm);
  }
};
// The fold cannot be done: a body or the previous model is lost or corrupt. The job fails, loudly.
struct FoldFailed {
  JobId job;
  std::string reason;
  template <class A>
  void fields(A& a) {
    a(job, reason);
  }
};
// The store is full (nothing new is assigned or received) or has room again.
struct StorageChanged {
  bool full = false;
  template <class A>
  void fields(A& a) {
    a(full);
  }
};
// Machine::next_timer() has come.
struct Tick {
  template <class A>
  void fields(A&) {}
};

}  // namespace event

using Event = std::variant<event::JobSubmitted, event::JobStopRequested, event::DeviceReady, event::DeviceLost,
                           event::UpdateReceived, event::EvaluationReceived, event::AssignmentFailed, event::Committed,
                           event::FoldFailed, event::StorageChanged, event::Tick>;

}  // namespace shoal::coordinator
