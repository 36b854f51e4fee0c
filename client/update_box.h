// The update that waits on the device's disk: sealed, synced and named, until the coordinator has answered for it.
//
//   FOLDER/update-ASSIGNMENT.sealed   the object as it crosses the wire (protocol/sealed_object.h)
//   FOLDER/update.record              "shoal-update 1\n" payload SHA-256(payload); payload = UnsentUpdate, key included
//
// Both files are 0600. The body is synced before the record that names it exists, and the record before the first chunk
// leaves; a body that no record names is a crash's leftover and is removed.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/log.h"
#include "base/result.h"
#include "client/file.h"
#include "client/session.h"
#include "protocol/transport.h"

namespace shoal::client {

// Holds one update at most. Not thread-safe.
class UpdateBox {
 public:
  // Makes the folder if needed and takes up what a previous run left. What does not verify is dropped with a log line.
  static Result<UpdateBox> open(std::string folder, Log& log);

  const std::optional<UnsentUpdate>& unsent() const { return unsent_; }

  // Seals `delta` (float32, little endian, in layout order) under a fresh key, replacing what was there. Fills in
  // facts.digest and facts.bytes. Memory: two chunks. On an error the box is empty.
  Result<UnsentUpdate> seal(AssignmentId assignment, protocol::UpdateFacts facts, std::span<const float> delta);

  // The sealed chunks. The source stays readable after drop(). kNotFound when the box does not hold that update.
  Result<std::unique_ptr<protocol::ChunkSource>> source(AssignmentId assignment) const;

  // Durable on return. Dropping what is not there succeeds.
  Status drop(AssignmentId assignment);

 private:
  explicit UpdateBox(std::string folder) : folder_(std::move(folder)) {}
  Status clear(Log& log);

  std::string folder_;
  std::optional<UnsentUpdate> unsent_;
};

}  // namespace shoal::client
