#include "coordinator/rocksdb/write_log.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <vector>

#include "base/check.h"
#include "protocol/sealed_object.h"
#include "protocol/sha256.h"

namespace shoal::coordinator {
namespace {

// A hundred rounds of a small job. The tables in memory grow as far as the log before they are written out, so that
// this is also what the peak of memory grows by in the first hundred rounds.
constexpr std::uint64_t kCapacity = 512 << 10;
constexpr std::size_t kHeader = 4 + 8 + 32;

Digest checksum(std::uint64_t epoch, std::uint64_t offset, std::string_view payload) {
  protocol::Sha256 hash;
  hash.update(std::as_bytes(std::span(&epoch, 1)));
  hash.update(std::as_bytes(std::span(&offset, 1)));
  hash.update(std::as_bytes(std::span(payload)));
  return hash.finish();
}

Result<std::uint64_t> random_number() {
  SHOAL_TRY_ASSIGN(const protocol::ObjectKey random, protocol::make_object_key());
  std::uint64_t number = 0;
  std::memcpy(&number, random.data(), sizeof number);
  return number;
}

}  // namespace

Result<std::unique_ptr<WriteLog>> WriteLog::open(FileSystem& files, const std::string& folder,
                                                 const std::function<Status(std::string_view)>& replay) {
  const std::string path = folder + "/writes.ring";
  auto file = files.open(path);
  if (!file.ok() && file.error().code() == ErrorCode::kNotFound) file = files.create(path);
  if (!file.ok()) return std::move(file).error();
  std::unique_ptr<WriteLog> log(new WriteLog(std::move(*file)));
  SHOAL_TRY(log->fill());
  SHOAL_TRY(files.sync_folder(folder));
  SHOAL_TRY(log->replay(replay));
  if (log->end_ == 0) SHOAL_TRY(log->restart());
  return log;
}

// Zeros up to the capacity; more than what a new file lacks is never written.
Status WriteLog::fill() {
  SHOAL_TRY_ASSIGN(std::uint64_t size, file_->size());
  if (size >= kCapacity) return {};
  const std::vector<std::byte> zeros(1 << 18);
  while (size < kCapacity) {
    const auto part = std::span(zeros).first(std::min<std::uint64_t>(zeros.size(), kCapacity - size));
    SHOAL_TRY(file_->write(size, part));
    size += part.size();
  }
  return file_->sync();
}

Status WriteLog::replay(const std::function<Status(std::string_view)>& replay) {
  std::vector<std::byte> bytes(kCapacity);
  SHOAL_TRY_ASSIGN(const std::size_t read, file_->read(0, bytes));
  while (end_ + kHeader <= read) {
    std::uint32_t length = 0;
    std::uint64_t epoch = 0;
    Digest found;
    std::memcpy(&length, bytes.data() + end_, 4);
    std::memcpy(&epoch, bytes.data() + end_ + 4, 8);
    std::memcpy(found.bytes.data(), bytes.data() + end_ + 12, found.bytes.size());
    if (length > read - end_ - kHeader || (end_ > 0 && epoch != epoch_)) break;
    const std::string_view payload(reinterpret_cast<const char*>(bytes.data()) + end_ + kHeader, length);
    if (checksum(epoch, end_, payload) != found) break;
    SHOAL_TRY(replay(payload));
    epoch_ = epoch;
    end_ += kHeader + length;
  }
  // What a failed sync left in memory only would be read here and then be missing after a power cut, with all that
  // follows it.
  SHOAL_TRY(file_->write(0, std::span(bytes).first(end_)));
  return file_->sync();
}

bool WriteLog::has_room(std::size_t payload_bytes) const { return end_ + kHeader + payload_bytes <= kCapacity; }

Status WriteLog::append(std::string_view payload) {
  SHOAL_CHECK(has_room(payload.size()), "the log is restarted before it is full");
  std::vector<std::byte> record(kHeader + payload.size());
  const auto length = static_cast<std::uint32_t>(payload.size());
  const Digest sum = checksum(epoch_, end_, payload);
  std::memcpy(record.data(), &length, 4);
  std::memcpy(record.data() + 4, &epoch_, 8);
  std::memcpy(record.data() + 12, sum.bytes.data(), sum.bytes.size());
  std::memcpy(record.data() + kHeader, payload.data(), payload.size());
  SHOAL_TRY(file_->write(end_, record));
  SHOAL_TRY(file_->sync());
  end_ += record.size();
  return {};
}

// The first record must be gone for good before any is written over: a part of the old ones would take the database
// back.
Status WriteLog::restart() {
  SHOAL_TRY_ASSIGN(epoch_, random_number());
  end_ = 0;
  SHOAL_TRY(file_->write(0, std::array<std::byte, kHeader>{}));
  return file_->sync();
}

}  // namespace shoal::coordinator
