// An update on its way in: every chunk is opened, judged, hashed and stored as it arrives; at the end it is synced.
//
// What comes out is well-formed: the size, the tags, the digest, finiteness and the bound are checked before the
// machine hears of it. Chunks that an earlier run of the coordinator stored are read back and judged like new ones,
// beside the owner thread, since that takes as long as receiving them. An upload that breaks off and goes on keeps what
// was judged.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
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

// Where an upload goes on: the chunks before `held` are there.
struct Opening {
  std::uint32_t held = 0;
  std::shared_ptr<protocol::ChunkSink> sink;
};

// Syncs finished bodies on a thread of its own and reports results; several bodies share one sync where the store can.
class Intake {
 public:
  // `bodies` outlives the intake; `wake` is called from its thread after there is something to tell.
  Intake(BodyStore& bodies, std::function<void()> wake);
  ~Intake();

  // Reserves room for the body, or goes on with one that broke off: no earlier sink of it may be in use any more.
  // nullopt when chunks of an earlier run have to be judged first; resumed() then tells. Not while settling().
  Result<std::optional<Opening>> receive(const Offer& offer);
  struct Resumed {
    Offer offer;
    Result<Opening> opening;
  };
  std::vector<Resumed> resumed();
  // The update is being resumed, or its bytes are complete and results() has not told yet how it ended.
  bool settling(AssignmentId assignment) const;
  std::vector<IntakeResult> results();
  // Nobody will go on with this upload.
  void forget(AssignmentId assignment);

 private:
  class Upload;
  void finish(IntakeResult result);
  Result<Opening> resume(const Offer& offer);
  void run();

  BodyStore& bodies_;
  std::function<void()> wake_;
  std::vector<std::byte> plain_;  // one chunk, opened; of the bulk thread, which calls all sinks
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<AssignmentId, std::shared_ptr<Upload>> uploads_;  // begun and not ended
  std::set<AssignmentId> settling_;
  std::deque<Offer> to_resume_;
  std::deque<AssignmentId> to_prepare_;
  std::deque<IntakeResult> to_sync_;
  std::vector<Resumed> resumed_;
  std::vector<IntakeResult> results_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace shoal::coordinator
