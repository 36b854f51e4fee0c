#include "client/update_box.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <utility>
#include <vector>

#include "base/archive.h"
#include "base/check.h"
#include "protocol/limits.h"
#include "protocol/sha256.h"

namespace shoal::client {

using protocol::ChunkCipher;
using protocol::kChunkBytes;
using protocol::kTagBytes;
using protocol::ObjectInfo;

namespace {

constexpr std::string_view kMagic = "shoal-update 2\n";
constexpr std::size_t kHeaderBytes = 4096;
constexpr std::size_t kCheckAt = kHeaderBytes - sizeof(Digest::bytes);
constexpr std::size_t kPayloadAt = kMagic.size() + sizeof(std::uint32_t);
using Header = std::array<std::byte, kHeaderBytes>;

Digest check_of(const Header& header) { return protocol::sha256(std::span(header).first(kCheckAt)); }

Header to_header(const UnsentUpdate& update) {
  Header header{};
  const std::string payload = encode_state(update);
  SHOAL_CHECK(kPayloadAt + payload.size() <= kCheckAt, "the facts of an update fit into its header");
  const auto length = static_cast<std::uint32_t>(payload.size());
  std::memcpy(header.data(), kMagic.data(), kMagic.size());
  std::memcpy(header.data() + kMagic.size(), &length, sizeof length);
  std::memcpy(header.data() + kPayloadAt, payload.data(), payload.size());
  const Digest check = check_of(header);
  std::memcpy(header.data() + kCheckAt, check.bytes.data(), check.bytes.size());
  return header;
}

Result<UnsentUpdate> from_header(const Header& header) {
  const std::string_view text(reinterpret_cast<const char*>(header.data()), header.size());
  if (!text.starts_with(kMagic)) return Error(ErrorCode::kCorrupt, "it was written by another version of this program");
  Digest check;
  std::copy_n(text.begin() + kCheckAt, check.bytes.size(), check.bytes.begin());
  std::uint32_t length = 0;
  std::memcpy(&length, header.data() + kMagic.size(), sizeof length);
  if (check != check_of(header) || length > kCheckAt - kPayloadAt)
    return Error(ErrorCode::kCorrupt, "its header is damaged");
  auto update = decode_state<UnsentUpdate>(text.substr(kPayloadAt, length));
  if (!update || update->object.bytes > protocol::kMaxObjectBytes)
    return Error(ErrorCode::kCorrupt, "its header is damaged");
  return std::move(*update);
}

std::uint64_t offset_of(std::uint32_t chunk) { return kHeaderBytes + std::uint64_t{chunk} * (kChunkBytes + kTagBytes); }

// Every chunk opens, and the tags are those that were announced.
Status verify(const File& body, const UnsentUpdate& update) {
  const ObjectInfo& object = update.object;
  SHOAL_TRY_ASSIGN(const std::uint64_t size, body.size());
  if (size != kHeaderBytes + object.sealed_bytes())
    return Error(ErrorCode::kCorrupt, "it has another size than its header says");
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
    return Error(ErrorCode::kCorrupt, "its digest is another than its header says");
  return {};
}

// nullopt when it holds none.
Result<std::optional<UnsentUpdate>> read_update(const std::string& path) {
  SHOAL_TRY_ASSIGN(const File file, File::open_to_read(path));
  SHOAL_TRY_ASSIGN(const std::uint64_t size, file.size());
  Header header{};
  SHOAL_TRY(file.read_at(0, std::span(header).first(std::min<std::uint64_t>(size, kHeaderBytes))));
  if (header == Header{}) return std::optional<UnsentUpdate>();
  SHOAL_TRY_ASSIGN(UnsentUpdate update, from_header(header));
  SHOAL_TRY(verify(file, update));
  return std::optional(std::move(update));
}

// Seals `plain` chunk by chunk into the file at `path`, synced; fills in update.facts.
Status write_update(const std::string& path, std::span<const std::byte> plain, UnsentUpdate& update) {
  SHOAL_TRY_ASSIGN(File file, File::open_to_write(path));
  SHOAL_TRY(file.write_at(0, Header{}));
  ChunkCipher cipher(update.object);
  protocol::Sha256 tags;
  std::vector<std::byte> sealed(std::min<std::size_t>(kChunkBytes, plain.size()) + kTagBytes);
  for (std::uint32_t chunk = 0; chunk < update.object.chunks(); ++chunk) {
    const std::size_t n = update.object.sealed_bytes(chunk);
    const auto out = std::span(sealed).first(n);
    cipher.seal(chunk, plain.subspan(std::uint64_t{chunk} * kChunkBytes, n - kTagBytes), out);
    tags.update(out.last(kTagBytes));
    SHOAL_TRY(file.write_at(offset_of(chunk), out));
  }
  update.facts.digest = tags.finish();
  update.facts.bytes = plain.size();
  SHOAL_TRY_ASSIGN(const std::uint64_t size, file.size());
  const std::uint64_t end = kHeaderBytes + update.object.sealed_bytes();
  if (size > end) SHOAL_TRY(file.truncate(end));
  SHOAL_TRY(file.write_at(0, to_header(update)));
  return file.sync();
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
  auto update = read_update(box.path());
  if (update.ok()) {
    box.unsent_ = std::move(*update);
  } else if (update.error().code() == ErrorCode::kCorrupt) {
    log.warn("the unsent update is dropped: " + update.error().to_string());
  } else if (update.error().code() != ErrorCode::kNotFound) {
    return std::move(update).error();  // it may be whole; somebody has to look
  }
  if (!box.unsent_) SHOAL_TRY(remove_file(box.path()));  // the space is given back at least when the program starts
  return box;
}

Result<UnsentUpdate> UpdateBox::seal(AssignmentId assignment, protocol::UpdateFacts facts,
                                     std::span<const float> delta) {
  unsent_.reset();
  const auto plain = std::as_bytes(delta);
  UnsentUpdate update{assignment, std::move(facts), {}};
  SHOAL_TRY_ASSIGN(const protocol::ObjectKey key, protocol::make_object_key());
  update.object = {assignment.value, plain.size(), protocol::preferred_suite(), key};
  if (Status written = write_update(path(), plain, update); !written.ok()) {
    static_cast<void>(remove_file(path()));  // on a full disk every byte counts
    return std::move(written).error().because_of_this("cannot keep the update");
  }
  SHOAL_TRY(sync_folder(folder_));
  unsent_ = update;
  return update;
}

Result<std::unique_ptr<protocol::ChunkSource>> UpdateBox::source(AssignmentId assignment) const {
  if (!unsent_ || unsent_->assignment != assignment)
    return Error(ErrorCode::kNotFound,
                 "no sealed update of assignment " + std::to_string(assignment.value) + " is on the disk");
  SHOAL_TRY_ASSIGN(File body, File::open_to_read(path()));
  return std::unique_ptr<protocol::ChunkSource>(std::make_unique<BodySource>(std::move(body), unsent_->object));
}

Status UpdateBox::drop(AssignmentId assignment) {
  if (!unsent_ || unsent_->assignment != assignment) return {};
  unsent_.reset();
  SHOAL_TRY_ASSIGN(File file, File::open_to_write(path()));
  return file.write_at(0, Header{});
}

}  // namespace shoal::client
