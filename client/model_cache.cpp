#include "client/model_cache.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "protocol/durable_file.h"
#include "protocol/sha256.h"

namespace shoal::client {

using protocol::kChunkBytes;
using protocol::kTagBytes;
using protocol::ObjectInfo;

namespace {

constexpr std::string_view kComplete = ".safetensors";
constexpr std::string_view kPartial = ".partial";
constexpr std::size_t kMaxOrderBytes = 1 << 20;

std::optional<Digest> from_hex(std::string_view text) {
  Digest digest;
  if (text.size() != 2 * digest.bytes.size()) return std::nullopt;
  const auto value = [](char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; };
  for (std::size_t i = 0; i < digest.bytes.size(); ++i) {
    const int high = value(text[2 * i]), low = value(text[2 * i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    digest.bytes[i] = static_cast<std::uint8_t>(high * 16 + low);
  }
  return digest;
}

Result<Digest> digest_of(const File& file) {
  SHOAL_TRY_ASSIGN(const std::uint64_t size, file.size());
  protocol::Sha256 hash;
  std::vector<std::byte> piece(kChunkBytes);
  for (std::uint64_t at = 0; at < size;) {
    const auto part = std::span(piece).first(std::min<std::uint64_t>(piece.size(), size - at));
    SHOAL_TRY(file.read_at(at, part));
    hash.update(part);
    at += part.size();
  }
  return hash.finish();
}

}  // namespace

ModelDownload::ModelDownload(File file, const ObjectInfo& object, std::uint32_t first_chunk)
    : file_(std::move(file)),
      object_(object),
      cipher_(object),
      plain_(kChunkBytes),
      first_chunk_(first_chunk),
      next_chunk_(first_chunk) {}

Status ModelDownload::write(std::uint32_t chunk, std::span<const std::byte> sealed) {
  if (chunk != next_chunk_ || chunk >= object_.chunks() || sealed.size() != object_.sealed_bytes(chunk))
    return Error(ErrorCode::kCorrupt,
                 "chunk " + std::to_string(chunk) + " of the model came out of order or in a wrong size");
  const auto plain = std::span(plain_).first(sealed.size() - kTagBytes);
  SHOAL_TRY(cipher_.open(chunk, sealed, plain));
  SHOAL_TRY(file_.write_at(std::uint64_t{chunk} * kChunkBytes, plain));
  ++next_chunk_;
  return {};
}

Result<ModelCache> ModelCache::open(std::string folder, Bytes quota) {
  SHOAL_TRY(make_folder(folder));
  ModelCache cache(std::move(folder), quota);
  SHOAL_TRY(cache.load_order());
  return cache;
}

// The order file says how recently; the folder says what there is.
Status ModelCache::load_order() {
  std::set<Digest> held;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder_, error)) {
    const std::string name = entry.path().filename();
    if (!name.ends_with(kComplete)) continue;
    if (const auto digest = from_hex(std::string_view(name).substr(0, name.size() - kComplete.size())))
      held.insert(*digest);
  }
  if (error) return Error(ErrorCode::kFailed, "cannot list " + folder_ + ": " + error.message());
  const auto order = protocol::read_file(folder_ + "/order", kMaxOrderBytes);
  std::string_view rest = order.ok() ? std::string_view(*order) : std::string_view();
  while (!rest.empty()) {
    const auto digest = from_hex(rest.substr(0, rest.find('\n')));
    if (digest && held.erase(*digest) > 0) order_.push_back(*digest);
    rest.remove_prefix(std::min(rest.size(), rest.find('\n') == rest.npos ? rest.size() : rest.find('\n') + 1));
  }
  order_.insert(order_.end(), held.begin(), held.end());
  return {};
}

Status ModelCache::save_order() const {
  std::string text;
  for (const Digest& digest : order_) text += digest.hex() + "\n";
  return protocol::write_file(folder_ + "/order", text, 0600, protocol::IfExists::kReplace);
}

Status ModelCache::touch(const Digest& digest) {
  if (!order_.empty() && order_.front() == digest) return {};
  std::erase(order_, digest);
  order_.insert(order_.begin(), digest);
  return save_order();
}

std::string ModelCache::path_of(const Digest& digest) const {
  return folder_ + "/" + digest.hex() + std::string(kComplete);
}

Result<std::optional<std::string>> ModelCache::find(const Digest& digest) {
  if (std::find(order_.begin(), order_.end(), digest) == order_.end()) return std::optional<std::string>();
  const std::string path = path_of(digest);
  if (!verified_.contains(digest)) {
    auto file = File::open_to_read(path);
    auto found = file.ok() ? digest_of(*file) : Result<Digest>(std::move(file).error());
    if (!found.ok() || *found != digest) {
      std::erase(order_, digest);
      SHOAL_TRY(remove_durably(folder_, digest.hex() + std::string(kComplete)));
      return std::optional<std::string>();
    }
    verified_.insert(digest);
  }
  SHOAL_TRY(touch(digest));
  return std::optional<std::string>(path);
}

Result<ModelDownload> ModelCache::begin(const Digest& digest, const ObjectInfo& object) {
  SHOAL_TRY(make_room(object.bytes, digest));
  SHOAL_TRY_ASSIGN(File file, File::open_to_write(folder_ + "/" + digest.hex() + std::string(kPartial)));
  SHOAL_TRY_ASSIGN(const std::uint64_t size, file.size());
  // Only whole chunks count; a complete file still needs its last chunk, so that the transfer has an end.
  const auto whole = static_cast<std::uint32_t>(std::min(size, object.bytes) / kChunkBytes);
  const std::uint32_t first = object.chunks() == 0 ? 0 : std::min(whole, object.chunks() - 1);
  SHOAL_TRY(file.truncate(std::uint64_t{first} * kChunkBytes));
  return ModelDownload(std::move(file), object, first);
}

Result<std::string> ModelCache::finish(const Digest& digest, ModelDownload download) {
  const std::string partial = digest.hex() + std::string(kPartial);
  if (download.next_chunk_ != download.object_.chunks())
    return Error(ErrorCode::kFailed, "the download ended at chunk " + std::to_string(download.next_chunk_) + " of " +
                                         std::to_string(download.object_.chunks()));
  SHOAL_TRY_ASSIGN(const Digest found, digest_of(download.file_));
  if (found != digest) {
    SHOAL_TRY(remove_durably(folder_, partial));
    return Error(ErrorCode::kCorrupt, "the downloaded model has SHA-256 " + found.hex() +
                                          ", the coordinator announced " + digest.hex() + "; it is downloaded again");
  }
  SHOAL_TRY(download.file_.sync());
  SHOAL_TRY(rename_durably(folder_, partial, digest.hex() + std::string(kComplete)));
  verified_.insert(digest);
  SHOAL_TRY(touch(digest));
  return path_of(digest);
}

std::uint64_t ModelCache::bytes() const {
  std::uint64_t total = 0;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder_, error)) {
    const std::string name = entry.path().filename();
    if (name.ends_with(kComplete) || name.ends_with(kPartial)) total += entry.file_size(error);
  }
  return total;
}

// Partial downloads of other models go first: nobody asks for them any more, since a device has one assignment.
Status ModelCache::make_room(std::uint64_t needed, const Digest& keep) {
  if (needed > quota_.count)
    return Error(ErrorCode::kExhausted, "the model takes " + human_bytes(needed) + ", the cache may hold " +
                                            human_bytes(quota_.count) + "; raise cache_quota");
  std::uint64_t held = 0;  // without the partial download that goes on, which is part of `needed`
  const std::string going_on = keep.hex() + std::string(kPartial);
  std::vector<std::pair<std::string, std::uint64_t>> victims;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder_, error)) {
    const std::string name = entry.path().filename();
    if (name == going_on) continue;
    if (name.ends_with(kPartial)) victims.emplace_back(name, entry.file_size(error));
    if (name.ends_with(kPartial) || name.ends_with(kComplete)) held += entry.file_size(error);
  }
  if (error) return Error(ErrorCode::kFailed, "cannot list " + folder_ + ": " + error.message());
  for (auto old = order_.rbegin(); old != order_.rend(); ++old) {
    const std::string name = old->hex() + std::string(kComplete);
    const std::uint64_t size = std::filesystem::file_size(folder_ + "/" + name, error);
    if (!error) victims.emplace_back(name, size);
  }
  for (const auto& [name, size] : victims) {
    if (held + needed <= quota_.count) break;
    SHOAL_TRY(remove_durably(folder_, name));
    held -= size;
    std::erase_if(order_,
                  [&name = name](const Digest& digest) { return name == digest.hex() + std::string(kComplete); });
  }
  return save_order();
}

}  // namespace shoal::client
