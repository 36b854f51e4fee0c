#include "client/update_box.h"

#include <algorithm>
#include <filesystem>
#include <utility>
#include <vector>

#include "base/archive.h"
#include "protocol/durable_file.h"
#include "protocol/limits.h"
#include "protocol/sha256.h"

namespace shoal::client {

using protocol::ChunkCipher;
using protocol::kChunkBytes;
using protocol::kTagBytes;
using protocol::ObjectInfo;

namespace {

constexpr std::string_view kRecord = "update.record";
constexpr std::string_view kMagic = "shoal-update 1\n";
constexpr std::size_t kMaxRecordBytes = 4096;

std::string body_name(AssignmentId id) { return "update-" + std::to_string(id.value) + ".sealed"; }

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

std::string to_record(const UnsentUpdate& update) {
  const std::string payload = encode_state(update);
  const Digest check = protocol::sha256(bytes_of(payload));
  return std::string(kMagic) + payload +
         std::string(reinterpret_cast<const char*>(check.bytes.data()), check.bytes.size());
}

Result<UnsentUpdate> from_record(std::string_view record) {
  if (!record.starts_with(kMagic))
    return Error(ErrorCode::kCorrupt, "it was written by another version of this program");
  record.remove_prefix(kMagic.size());
  Digest check;
  if (record.size() < check.bytes.size()) return Error(ErrorCode::kCorrupt, "its record is cut short");
  const std::string_view payload = record.substr(0, record.size() - check.bytes.size());
  std::copy_n(record.end() - check.bytes.size(), check.bytes.size(), check.bytes.begin());
  auto update = decode_state<UnsentUpdate>(payload);
  if (check != protocol::sha256(bytes_of(payload)) || !update || update->object.bytes > protocol::kMaxObjectBytes)
    return Error(ErrorCode::kCorrupt, "its record is damaged");
  return std::move(*update);
}

std::uint64_t offset_of(std::uint32_t chunk) { return std::uint64_t{chunk} * (kChunkBytes + kTagBytes); }

// Every chunk opens, and the tags are those that were announced.
Status verify(const File& body, const UnsentUpdate& update) {
  const ObjectInfo& object = update.object;
  SHOAL_TRY_ASSIGN(const std::uint64_t size, body.size());
  if (size != object.sealed_bytes())
    return Error(ErrorCode::kCorrupt, "its body has another size than its record says");
  ChunkCipher cipher(object);
  protocol::Sha256 tags;
  std::vector<std::byte> sealed(kChunkBytes + kTagBytes), plain(kChunkBytes);
  for (std::uint32_t chunk = 0; chunk < object.chunks(); ++chunk) {
    const std::size_t n = object.sealed_bytes(chunk);
    const auto held = std::span(sealed).first(n);
    SHOAL_TRY(body.read_at(offset_of(chunk), held));
    SHOAL_TRY(cipher.open(chunk, held, std::span(plain).first(n - kTagBytes)));
    tags.update(held.last(kTagBytes));
  }
  if (tags.finish() != update.facts.digest)
    return Error(ErrorCode::kCorrupt, "its digest is another than its record says");
  return {};
}

Result<UnsentUpdate> read_update(const std::string& folder) {
  SHOAL_TRY_ASSIGN(const std::string record, protocol::read_file(folder + "/" + std::string(kRecord), kMaxRecordBytes));
  SHOAL_TRY_ASSIGN(UnsentUpdate update, from_record(record));
  SHOAL_TRY_ASSIGN(const File body, File::open_to_read(folder + "/" + body_name(update.assignment)));
  SHOAL_TRY(verify(body, update));
  return update;
}

// Seals `plain` chunk by chunk into the file at `path`, synced; fills in update.facts.
Status write_body(const std::string& path, std::span<const std::byte> plain, UnsentUpdate& update) {
  SHOAL_TRY_ASSIGN(File body, File::open_to_write(path));
  SHOAL_TRY(body.truncate(0));
  ChunkCipher cipher(update.object);
  protocol::Sha256 tags;
  std::vector<std::byte> sealed(kChunkBytes + kTagBytes);
  for (std::uint32_t chunk = 0; chunk < update.object.chunks(); ++chunk) {
    const std::size_t n = update.object.sealed_bytes(chunk);
    const auto out = std::span(sealed).first(n);
    cipher.seal(chunk, plain.subspan(std::uint64_t{chunk} * kChunkBytes, n - kTagBytes), out);
    tags.update(out.last(kTagBytes));
    SHOAL_TRY(body.write_at(offset_of(chunk), out));
  }
  update.facts.digest = tags.finish();
  update.facts.bytes = plain.size();
  return body.sync();
}

// Reads chunks from the body's open file, hence also while the box drops it.
class BodySource final : public protocol::ChunkSource {
 public:
  BodySource(File body, const ObjectInfo& object) : body_(std::move(body)), object_(object) {}

  Status read(std::uint32_t chunk, std::vector<std::byte>& sealed) override {
    if (chunk >= object_.chunks())
      return Error(ErrorCode::kInvalid, "the update has no chunk " + std::to_string(chunk));
    sealed.resize(object_.sealed_bytes(chunk));
    return body_.read_at(offset_of(chunk), sealed);
  }

 private:
  File body_;
  ObjectInfo object_;
};

}  // namespace

Result<UpdateBox> UpdateBox::open(std::string folder, Log& log) {
  SHOAL_TRY(make_folder(folder));
  UpdateBox box(std::move(folder));
  auto update = read_update(box.folder_);
  if (update.ok()) {
    box.unsent_ = std::move(*update);
  } else if (update.error().code() != ErrorCode::kCorrupt && update.error().code() != ErrorCode::kNotFound) {
    return std::move(update).error();  // it may be whole; somebody has to look
  } else if (std::filesystem::exists(box.folder_ + "/" + std::string(kRecord))) {
    log.warn("the unsent update is dropped: " + update.error().to_string());
  }
  SHOAL_TRY(box.clear(log));
  return box;
}

// Removes every file of the folder that does not belong to the update that is held.
Status UpdateBox::clear(Log& log) {
  std::error_code error;
  std::vector<std::string> strays;
  for (const auto& entry : std::filesystem::directory_iterator(folder_, error)) {
    const std::string name = entry.path().filename();
    if (!name.starts_with("update")) continue;
    if (unsent_ && (name == kRecord || name == body_name(unsent_->assignment))) continue;
    strays.push_back(name);
  }
  if (error) return Error(ErrorCode::kFailed, "cannot list " + folder_ + ": " + error.message());
  // The record first: it must never name a body that is gone.
  std::stable_partition(strays.begin(), strays.end(), [](const std::string& name) { return name == kRecord; });
  for (const std::string& name : strays) {
    SHOAL_TRY(remove_durably(folder_, name));
    log.debug("removed the leftover " + name);
  }
  return {};
}

Result<UnsentUpdate> UpdateBox::seal(AssignmentId assignment, protocol::UpdateFacts facts,
                                     std::span<const float> delta) {
  if (unsent_) SHOAL_TRY(drop(unsent_->assignment));
  const auto plain = std::as_bytes(delta);
  UnsentUpdate update{assignment, std::move(facts), {}};
  SHOAL_TRY_ASSIGN(const protocol::ObjectKey key, protocol::make_object_key());
  update.object = {assignment.value, plain.size(), protocol::preferred_suite(), key};
  const std::string name = body_name(assignment);
  if (Status written = write_body(folder_ + "/" + name, plain, update); !written.ok()) {
    (void)remove_durably(folder_, name);  // on a full disk every byte counts
    return std::move(written).error().because_of_this("cannot keep the update");
  }
  SHOAL_TRY(sync_folder(folder_));
  SHOAL_TRY(protocol::write_file(folder_ + "/" + std::string(kRecord), to_record(update), 0600,
                                 protocol::IfExists::kReplace));
  unsent_ = update;
  return update;
}

Result<std::unique_ptr<protocol::ChunkSource>> UpdateBox::source(AssignmentId assignment) const {
  if (!unsent_ || unsent_->assignment != assignment)
    return Error(ErrorCode::kNotFound,
                 "no sealed update of assignment " + std::to_string(assignment.value) + " is on the disk");
  SHOAL_TRY_ASSIGN(File body, File::open_to_read(folder_ + "/" + body_name(assignment)));
  return std::unique_ptr<protocol::ChunkSource>(std::make_unique<BodySource>(std::move(body), unsent_->object));
}

Status UpdateBox::drop(AssignmentId assignment) {
  if (!unsent_ || unsent_->assignment != assignment) return {};
  unsent_.reset();
  SHOAL_TRY(remove_durably(folder_, std::string(kRecord)));
  return remove_durably(folder_, body_name(assignment));
}

}  // namespace shoal::client
