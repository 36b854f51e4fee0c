@0x811eb72a6f49e3a8;
# The control plane's messages. Fields are only ever added; numbers and meanings are permanent. Limits are in limits.h.

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("shoal::protocol::schema");

# ---- device to coordinator ----

struct DeviceMessage {
  union {
    hello @0 :Hello;
    redeem @1 :Redeem;
    heartbeat @2 :Void;
    fetchModel @3 :UInt64;  # assignment
    offerUpdate @4 :OfferUpdate;
    evaluationDone @5 :EvaluationDone;
    taskFailed @6 :TaskFailed;
    goodbye @7 :Void;
  }
}

struct Hello {
  oldest @0 :UInt16;
  newest @1 :UInt16;
  build @2 :Text;
  facts @3 :DeviceFacts;
  working @4 :UInt64;
  unsent @5 :UInt64;
  process @6 :UInt64;
}

struct Redeem {
  oldest @0 :UInt16;
  newest @1 :UInt16;
  name @2 :Text;
  deviceKey @3 :Data;  # 32 bytes
}

struct OfferUpdate {
  assignment @0 :UInt64;
  facts @1 :UpdateFacts;
  object @2 :Object;
}

struct EvaluationDone {
  assignment @0 :UInt64;
  samples @1 :UInt64;
  correct @2 :UInt64;
  lossSum @3 :Float64;
}

struct TaskFailed {
  assignment @0 :UInt64;
  reason @1 :Text;
  refusal @2 :UInt8 = 46;  # refusal.h
}

# ---- coordinator to device ----

struct CoordinatorMessage {
  union {
    welcome @0 :Welcome;
    redeemed @1 :Redeemed;
    refused @2 :Refused;
    assign @3 :Assign;
    modelTicket @4 :ModelTicket;
    uploadTicket @5 :UploadTicket;
    receipt @6 :UInt64;  # assignment
    revoke @7 :Revoke;
    drain @8 :Int64;  # reconnect window, nanoseconds
    passedOver @9 :PassedOver;
  }
}

struct Welcome {
  protocol @0 :UInt16;
  device @1 :UInt64;
  heartbeat @2 :Int64;        # nanoseconds
  reconnectWindow @3 :Int64;  # nanoseconds
}

struct Redeemed {
  device @0 :UInt64;
  approved @1 :Bool;
}

struct Refused {
  refusal @0 :UInt8;  # refusal.h
  assignment @1 :UInt64;
  detail @2 :Text;
  retryAfter @3 :Int64;  # nanoseconds
}

struct Assign {
  assignment @0 :Assignment;
  model @1 :Data;  # SHA-256, 32 bytes
  modelBytes @2 :UInt64;
}

struct ModelTicket {
  assignment @0 :UInt64;
  ticket @1 :Ticket;
  object @2 :Object;
}

struct UploadTicket {
  assignment @0 :UInt64;
  ticket @1 :Ticket;
  firstChunk @2 :UInt32;
}

struct Revoke {
  assignment @0 :UInt64;
  refusal @1 :UInt8;  # refusal.h
}

struct PassedOver {
  refusal @0 :UInt8;  # refusal.h
  detail @1 :Text;
}

# ---- what they carry ----

struct DeviceFacts {
  trainSamples @0 :UInt64;
  testSamples @1 :UInt64;
  memoryBudget @2 :UInt64;  # bytes
}

struct UpdateFacts {
  digest @0 :Data;  # SHA-256, 32 bytes
  bytes @1 :UInt64;
  samples @2 :UInt64;
  steps @3 :UInt64;
  loss @4 :Float64;
  norm @5 :Float64;
  trained @6 :Int64;  # nanoseconds
}

struct Object {
  id @0 :UInt64;
  bytes @1 :UInt64;
  suite @2 :UInt8;  # CipherSuite
  key @3 :Data;     # 32 bytes
}

struct Ticket {
  endpoint @0 :Text;
  user @1 :Text;
  secret @2 :Text;
}

struct Assignment {
  id @0 :UInt64;
  job @1 :UInt64;
  kind @2 :UInt8;  # TaskKind
  version @3 :UInt64;
  steps @4 :UInt32;
  seed @5 :UInt64;
  lease @6 :Int64;  # nanoseconds
  training @7 :Training;
  bound @8 :Float64;
  maxSamples @9 :UInt64;
  maxUpdates @10 :UInt32;
}

struct Training {
  epochs @0 :UInt32;
  batchSize @1 :UInt32;
  learningRate @2 :Float64;
  momentum @3 :Float64;
  weightDecay @4 :Float64;
  proximal @5 :Float64;
  plan @6 :Text;
  optimizer @7 :UInt8;
}
