// Models on the device's disk, named by their SHA-256, within a quota; the least recently used go first.
//
//   FOLDER/DIGEST.safetensors   complete and verified; its modification time says when it was last used
//   FOLDER/DIGEST.partial       the chunks that a broken download reached, opened
//
// Chunks are opened as they come, so a partial download belongs to the model, not to the sealed copy it came from: it
// goes on after a restart, and from another copy under another key. What a power loss may have left in it is found by
// the digest, which covers every byte of the file before it gets its name.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/result.h"
#include "base/units.h"
#include "client/file.h"
#include "protocol/sealed_object.h"
#include "protocol/sha256.h"
#include "protocol/transport.h"

namespace shoal::client {

// A download into the cache. Given to BulkClient::download as the sink.
class ModelDownload final : public protocol::ChunkSink {
 public:
  // Where to begin: chunks before it are on the disk.
  std::uint32_t first_chunk() const { return first_chunk_; }

  Status write(std::uint32_t chunk, std::span<const std::byte> sealed) override;
  void complete() override { complete_ = true; }

 private:
  friend class ModelCache;
  ModelDownload(File file, const protocol::ObjectInfo& object);
  // Takes over the chunks that the file holds.
  Status resume();

  File file_;
  protocol::ObjectInfo object_;
  protocol::ChunkCipher cipher_;
  protocol::Sha256 hash_;  // of everything before next_chunk_
  std::vector<std::byte> plain_;
  std::uint32_t first_chunk_ = 0;
  std::uint32_t next_chunk_ = 0;
  bool complete_ = false;
};

// Nobody else changes the folder. Not thread-safe. One download at a time.
class ModelCache {
 public:
  static Result<ModelCache> open(std::string folder, Bytes quota);

  // The path of a complete model, now the most recently used. Its digest is checked once in the life of this object; a
  // file that fails is removed. nullopt when the cache does not hold it.
  Result<std::optional<std::string>> find(const Digest& digest);

  // Makes room and takes up a partial download. kExhausted when the model alone exceeds the quota.
  Result<ModelDownload> begin(const Digest& digest, const protocol::ObjectInfo& object);

  // Verifies and names the download. kCorrupt when the digest differs: nothing of it is kept. kFailed when chunks are
  // missing: what came is kept.
  Result<std::string> finish(const Digest& digest, ModelDownload download);

  // Bytes of all models; a partial one counts as what it may become.
  std::uint64_t bytes() const;

 private:
  struct Model {
    Digest digest;
    std::uint64_t bytes = 0;
    bool verified = false;  // in this run
  };

  ModelCache(std::string folder, Bytes quota) : folder_(std::move(folder)), quota_(quota) {}
  Status load();
  Status make_room(std::uint64_t needed);
  Status remove(std::vector<Model>& from, std::vector<Model>::iterator model, std::string_view suffix);
  std::string path_of(const Digest& digest, std::string_view suffix) const;

  std::string folder_;
  Bytes quota_;
  std::vector<Model> models_;    // complete, the most recently used first
  std::vector<Model> partials_;  // broken downloads; the one that goes on is last
};

}  // namespace shoal::client
