// The update that waits on the device's disk: sealed and synced, until the coordinator has answered for it.
//
//   FOLDER/update := header sealed                  mode 0600
//   header := "shoal-update 2\n" length payload zeros check    4096 bytes
//   length := u32, little endian, of the payload
//   payload := UnsentUpdate as base/archive.h encodes it, key included
//   check  := SHA-256 of the header before it
//   sealed := the object as it crosses the wire (protocol/sealed_object.h)
//
// The header is written last and wiped first: without one the file holds nothing. All of it is synced before the first
// chunk leaves. The file stays and is written over, since syncing space that was written before costs a file system
// much less than new space: 0.1 ms against 4 on an SSD.
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

  // Seals `delta` (float32, little endian) under a fresh key, replacing what was there. Fills in
  // facts.digest and facts.bytes. Memory: two chunks. On an error the box is empty.
  Result<UnsentUpdate> seal(AssignmentId assignment, protocol::UpdateFacts facts, std::span<const float> delta);

  // The sealed chunks, until the next seal(). kNotFound when the box does not hold that update.
  Result<std::unique_ptr<protocol::ChunkSource>> source(AssignmentId assignment) const;

  // Not synced: what a power cut brings back is offered once more, and answered as before. Dropping what is not there
  // succeeds.
  Status drop(AssignmentId assignment);

 private:
  explicit UpdateBox(std::string folder) : folder_(std::move(folder)) {}

  std::string path() const { return folder_ + "/update"; }

  std::string folder_;
  std::optional<UnsentUpdate> unsent_;
};

}  // namespace shoal::client
