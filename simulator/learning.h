// What needs tensors in a simulation: local training, evaluation and the folds, behind one interface that the engine
// drives.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/archive.h"
#include "base/digest.h"
#include "base/result.h"
#include "base/time.h"
#include "coordinator/action.h"
#include "protocol/facts.h"

namespace shoal::simulator {

// A device's finished training, checked as the coordinator checks a body before its receipt.
struct Trained {
  protocol::UpdateFacts facts;
  protocol::Refusal refusal = protocol::Refusal::kNone;  // kNotFinite or kOutOfBound
};

// A committed model.
struct Folded {
  Digest digest;
  double norm = 0;  // L2 norm of the change
};

// Results depend on nothing but the assignment, its base model and the device's data; when and on which thread they are
// computed shows nowhere. One owner thread.
class Learning {
 public:
  virtual ~Learning() = default;

  // Sealed bytes of a model, and of an update of that plan.
  virtual std::uint64_t model_bytes() const = 0;
  virtual std::uint64_t update_bytes(std::string_view plan) const = 0;
  // Of a device's own data.
  virtual std::uint64_t train_samples(DeviceId device) const = 0;
  virtual std::uint64_t test_samples(DeviceId device) const = 0;

  // The work may start. `due` is when its result is wanted, in virtual time: the earlier, the sooner it is computed.
  virtual void begin(DeviceId device, const protocol::Assignment& assignment, Time due) = 0;
  // The result of begun work; waits for it. A trained update is kept until it is folded or forgotten.
  virtual Result<Trained> trained(DeviceId device, const protocol::Assignment& assignment, std::uint64_t steps) = 0;
  virtual Result<protocol::EvaluationFacts> evaluated(DeviceId device, const protocol::Assignment& assignment) = 0;
  // Nobody will ask for this assignment again, begun or trained.
  virtual void forget(AssignmentId assignment) = 0;

  // Makes fold.version; releases the entries.
  virtual Result<Folded> fold(const coordinator::action::Fold& fold) = 0;
  virtual void drop(std::span<const Version> versions) = 0;

  // Starts to evaluate the newest model on the central test set, before everything else that is begun; then waits for
  // it. nullopt where there is no test set or nothing was started.
  virtual void begin_test() = 0;
  virtual Result<std::optional<protocol::EvaluationFacts>> test_result() = 0;
  // The newest model's digest, and its file; nothing is written where there are no tensors.
  virtual Digest newest_digest() const = 0;
  virtual Status write_newest(const std::string& path) const = 0;

  // Models, optimizer state and updates that wait for a fold. Begun work is not included: the engine begins it again.
  virtual void save(Encoder& encoder) const = 0;
  virtual Status load(Decoder& decoder) = 0;  // kCorrupt
};

}  // namespace shoal::simulator
