// An update on its way in: every chunk is opened, judged, hashed and stored as it arrives; at the end it is synced.
//
// What comes out is well-formed: the size, the tags, the digest, finiteness and the bound are checked before the
// machine hears of it. Chunks that an earlier run of the coordinator stored are read back and judged like new ones.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include "base/ids.h"
#include "compression/f32.h"
#include "coordinator/store.h"
#include "protocol/facts.h"
#include "protocol/refusal.h"
#include "protocol/sealed_object.h"
#include "protocol/sha256.h"
#include "protocol/transport.h"

namespace shoal::coordinator {

struct Offer {
  DeviceId device;
  AssignmentId assignment;
  protocol::UpdateFacts facts;
  protocol::ObjectInfo object;
  double bound = 0;  // announced in the assignment
};

// How an upload ended. A store error leaves `refusal` kNone: the device keeps its update and offers it again.
struct IntakeResult {
  Offer offer;  // facts.norm is filled in
  protocol::Refusal refusal = protocol::Refusal::kNone;
  std::optional<Error> error;
};

// Syncs finished bodies on a thread of its own and reports results; several bodies share one sync where the store can.
class Intake {
 public:
  // `bodies` outlives the intake; `wake` is called from its thread after results were added.
  Intake(BodyStore& bodies, std::function<void()> wake);
  ~Intake();

  // Where the bulk plane writes this update, from chunk `held` on (what BodyStore::open() returned).
  Result<std::shared_ptr<protocol::ChunkSink>> receive(const Offer& offer, std::uint32_t held);
  // The bytes of this update are complete, and results() has not told yet how it ended.
  bool settling(AssignmentId assignment) const;
  std::vector<IntakeResult> results();

 private:
  class Upload;
  void finish(IntakeResult result);
  void run();

  BodyStore& bodies_;
  std::function<void()> wake_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::set<AssignmentId> settling_;
  std::deque<AssignmentId> to_prepare_;
  std::deque<IntakeResult> to_sync_;
  std::vector<IntakeResult> results_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace shoal::coordinator
