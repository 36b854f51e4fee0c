#include "client/model_cache.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <utility>

namespace shoal::client {

using protocol::kChunkBytes;
using protocol::kTagBytes;
using protocol::ObjectInfo;

namespace {

constexpr std::string_view kComplete = ".safetensors";
constexpr std::string_view kPartial = ".partial";

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

std::optional<Digest> digest_in(std::string_view name, std::string_view suffix) {
  if (!name.ends_with(suffix)) return std::nullopt;
  return from_hex(name.substr(0, name.size() - suffix.size()));
}

// The first `bytes` of the file, added to `hash`.
Status add_file(const File& file, std::uint64_t bytes, protocol::Sha256& hash) {
  std::vector<std::byte> piece(std::min<std::uint64_t>(bytes, kChunkBytes));
  for (std::uint64_t at = 0; at < bytes;) {
    const auto part = std::span(piece).first(std::min<std::uint64_t>(piece.size(), bytes - at));
    SHOAL_TRY(file.read_at(at, part));
    hash.update(part);
    at += part.size();
  }
  return {};
}

Result<Digest> digest_of(const std::string& path) {
  SHOAL_TRY_ASSIGN(const File file, File::open_to_read(path));
  SHOAL_TRY_ASSIGN(const std::uint64_t size, file.size());
  protocol::Sha256 hash;
  SHOAL_TRY(add_file(file, size, hash));
  return hash.finish();
}

}  // namespace

ModelDownload::ModelDownload(File file, const ObjectInfo& object)
    : file_(std::move(file)), object_(object), cipher_(object), plain_(kChunkBytes) {}

// Only whole chunks count; a complete file still needs its last chunk, so that the transfer has an end.
Status ModelDownload::resume() {
  SHOAL_TRY_ASSIGN(const std::uint64_t size, file_.size());
  const auto whole = static_cast<std::uint32_t>(std::min(size, object_.bytes) / kChunkBytes);
  first_chunk_ = next_chunk_ = object_.chunks() == 0 ? 0 : std::min(whole, object_.chunks() - 1);
  const std::uint64_t kept = std::uint64_t{first_chunk_} * kChunkBytes;
  if (size > kept) SHOAL_TRY(file_.truncate(kept));
  return add_file(file_, kept, hash_);
}

Status ModelDownload::write(std::uint32_t chunk, std::span<const std::byte> sealed) {
  if (chunk != next_chunk_ || chunk >= object_.chunks() || sealed.size() != object_.sealed_bytes(chunk))
    return Error(ErrorCode::kCorrupt,
                 "chunk " + std::to_string(chunk) + " of the model came out of order or in a wrong size");
  const auto plain = std::span(plain_).first(sealed.size() - kTagBytes);
  SHOAL_TRY(cipher_.open(chunk, sealed, plain));
  SHOAL_TRY(file_.write_at(std::uint64_t{chunk} * kChunkBytes, plain));
  hash_.update(plain);
  ++next_chunk_;
  return {};
}

Result<ModelCache> ModelCache::open(std::string folder, Bytes quota) {
  SHOAL_TRY(make_folder(folder));
  ModelCache cache(std::move(folder), quota);
  SHOAL_TRY(cache.load());
  return cache;
}

Status ModelCache::load() {
  std::vector<std::pair<std::filesystem::file_time_type, Model>> complete;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder_, error)) {
    const std::string name = entry.path().filename();
    const std::uint64_t size = entry.file_size(error);
    if (const auto digest = digest_in(name, kComplete))
      complete.push_back({entry.last_write_time(error), {*digest, size}});
    if (const auto digest = digest_in(name, kPartial)) partials_.push_back({*digest, size});
    if (error) break;
  }
  if (error) return Error(ErrorCode::kFailed, "cannot list " + folder_ + ": " + error.message());
  std::stable_sort(complete.begin(), complete.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  for (auto& [used, model] : complete) models_.push_back(model);
  return {};
}

std::string ModelCache::path_of(const Digest& digest, std::string_view suffix) const {
  return folder_ + "/" + digest.hex() + std::string(suffix);
}

// Not synced: a file that is back after a power cut is only a cached model again.
Status ModelCache::remove(std::vector<Model>& from, std::vector<Model>::iterator model, std::string_view suffix) {
  SHOAL_TRY(remove_file(path_of(model->digest, suffix)));
  from.erase(model);
  return {};
}

Result<std::optional<std::string>> ModelCache::find(const Digest& digest) {
  const auto model = std::find_if(models_.begin(), models_.end(), [&](const Model& m) { return m.digest == digest; });
  if (model == models_.end()) return std::optional<std::string>();
  const std::string path = path_of(digest, kComplete);
  if (!model->verified) {
    const auto found = digest_of(path);
    if (!found.ok() || *found != digest) {
      SHOAL_TRY(remove(models_, model, kComplete));
      return std::optional<std::string>();
    }
    model->verified = true;
  }
  if (model != models_.begin()) {
    std::rotate(models_.begin(), model, model + 1);
    static_cast<void>(::utimensat(AT_FDCWD, path.c_str(), nullptr, 0));  // only an aid to the next run
  }
  return std::optional<std::string>(path);
}

Result<ModelDownload> ModelCache::begin(const Digest& digest, const ObjectInfo& object) {
  if (object.bytes > quota_.count)
    return Error(ErrorCode::kExhausted, "the model takes " + human_bytes(object.bytes) + ", the cache may hold " +
                                            human_bytes(quota_.count) + "; raise cache_quota");
  // The one that goes on is counted with all that it needs.
  std::erase_if(partials_, [&](const Model& m) { return m.digest == digest; });
  SHOAL_TRY(make_room(object.bytes));
  partials_.push_back({digest, object.bytes});
  SHOAL_TRY_ASSIGN(File file, File::open_to_write(path_of(digest, kPartial)));
  ModelDownload download(std::move(file), object);
  SHOAL_TRY(download.resume());
  return download;
}

Result<std::string> ModelCache::finish(const Digest& digest, ModelDownload download) {
  if (download.next_chunk_ != download.object_.chunks())
    return Error(ErrorCode::kFailed, "the download ended at chunk " + std::to_string(download.next_chunk_) + " of " +
                                         std::to_string(download.object_.chunks()));
  SHOAL_CHECK(!partials_.empty() && partials_.back().digest == digest, "one download at a time");
  const Digest found = download.hash_.finish();
  if (found != digest) {
    SHOAL_TRY(remove(partials_, std::prev(partials_.end()), kPartial));
    return Error(ErrorCode::kCorrupt, "the downloaded model has SHA-256 " + found.hex() +
                                          ", the coordinator announced " + digest.hex() + "; it is downloaded again");
  }
  SHOAL_TRY(download.file_.sync());
  SHOAL_TRY(rename_durably(folder_, digest.hex() + std::string(kPartial), digest.hex() + std::string(kComplete)));
  models_.insert(models_.begin(), {digest, partials_.back().bytes, true});
  partials_.pop_back();
  return path_of(digest, kComplete);
}

std::uint64_t ModelCache::bytes() const {
  std::uint64_t total = 0;
  for (const Model& model : models_) total += model.bytes;
  for (const Model& model : partials_) total += model.bytes;
  return total;
}

// Partial downloads of other models go first: nobody asks for them any more, since a device has one assignment.
Status ModelCache::make_room(std::uint64_t needed) {
  while (bytes() + needed > quota_.count) {
    SHOAL_CHECK(!partials_.empty() || !models_.empty(), "an empty cache has room for whatever the quota allows");
    if (!partials_.empty()) {
      SHOAL_TRY(remove(partials_, partials_.begin(), kPartial));
    } else {
      SHOAL_TRY(remove(models_, std::prev(models_.end()), kComplete));
    }
  }
  return {};
}

}  // namespace shoal::client
