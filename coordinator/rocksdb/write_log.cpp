#include "coordinator/rocksdb/write_log.h"

#include <array>
#include <cstring>
#include <optional>
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
constexpr std::uint64_t kSlotSpace = 4096;  // pages of their own: a crash tears one slot at the most
constexpr std::uint64_t kFirstRecord = 2 * kSlotSpace;
constexpr std::size_t kRecordHeader = 4 + 8 + 32;
constexpr std::size_t kSlotBytes = 8 + 8 + 32;

struct Slot {
  std::uint64_t number = 0, epoch = 0;
};

Digest checksum(const Slot& slot) {
  protocol::Sha256 hash;
  hash.update(std::as_bytes(std::span(std::string_view("slot"))));
  hash.update(std::as_bytes(std::span(&slot.number, 1)));
  hash.update(std::as_bytes(std::span(&slot.epoch, 1)));
  return hash.finish();
}

Digest checksum(std::uint64_t epoch, std::uint64_t offset, std::string_view payload) {
  protocol::Sha256 hash;
  hash.update(std::as_bytes(std::span(&epoch, 1)));
  hash.update(std::as_bytes(std::span(&offset, 1)));
  hash.update(std::as_bytes(std::span(payload)));
  return hash.finish();
}

std::array<std::byte, kSlotBytes> encoded(const Slot& slot) {
  std::array<std::byte, kSlotBytes> bytes;
  std::memcpy(bytes.data(), &slot.number, 8);
  std::memcpy(bytes.data() + 8, &slot.epoch, 8);
  std::memcpy(bytes.data() + 16, checksum(slot).bytes.data(), 32);
  return bytes;
}

std::optional<Slot> slot_at(std::span<const std::byte> log, std::uint64_t offset) {
  Slot slot;
  if (log.size() < offset + kSlotBytes) return std::nullopt;
  std::memcpy(&slot.number, log.data() + offset, 8);
  std::memcpy(&slot.epoch, log.data() + offset + 8, 8);
  if (std::memcmp(encoded(slot).data(), log.data() + offset, kSlotBytes) != 0) return std::nullopt;
  return slot;
}

// The payload of the record of this epoch that begins at `offset`, if one does.
std::optional<std::string_view> record_at(std::span<const std::byte> log, std::uint64_t offset, std::uint64_t epoch) {
  if (log.size() < offset + kRecordHeader) return std::nullopt;
  std::uint32_t length = 0;
  std::uint64_t found_epoch = 0;
  Digest found;
  std::memcpy(&length, log.data() + offset, 4);
  std::memcpy(&found_epoch, log.data() + offset + 4, 8);
  std::memcpy(found.bytes.data(), log.data() + offset + 12, found.bytes.size());
  if (found_epoch != epoch || length > log.size() - offset - kRecordHeader) return std::nullopt;
  const std::string_view payload(reinterpret_cast<const char*>(log.data()) + offset + kRecordHeader, length);
  if (checksum(epoch, offset, payload) != found) return std::nullopt;
  return payload;
}

// Is there a record of this epoch that begins after `offset`? Where one could begin is not known: its header is
// searched for.
std::optional<std::uint64_t> record_after(std::span<const std::byte> log, std::uint64_t offset, std::uint64_t epoch) {
  const std::string_view text(reinterpret_cast<const char*>(log.data()), log.size());
  const std::string_view wanted(reinterpret_cast<const char*>(&epoch), sizeof epoch);
  for (std::size_t at = text.find(wanted, offset + 5); at != text.npos; at = text.find(wanted, at + 1))
    if (record_at(log, at - 4, epoch)) return at - 4;
  return std::nullopt;
}

Result<std::uint64_t> random_number() {
  SHOAL_TRY_ASSIGN(const protocol::ObjectKey random, protocol::make_object_key());
  std::uint64_t number = 0;
  std::memcpy(&number, random.data(), sizeof number);
  return number;
}

Error damaged(const std::string& path, std::uint64_t offset, const std::string& what) {
  return Error(ErrorCode::kCorrupt, path + " is damaged at byte " + std::to_string(offset) + ": " + what +
                                        "; restore the data folder from a backup, or move it away and begin anew");
}

// Under another name until it is complete, so that a file of this name always has its slots.
Result<std::unique_ptr<File>> create_log(FileSystem& files, const std::string& folder, const std::string& path) {
  const std::string unfinished = path + ".new";
  SHOAL_TRY(files.remove(unfinished));
  SHOAL_TRY_ASSIGN(std::unique_ptr<File> file, files.create(unfinished));
  const std::vector<std::byte> zeros(1 << 18);
  for (std::uint64_t at = 0; at < kCapacity; at += zeros.size()) SHOAL_TRY(file->write(at, zeros));
  for (std::uint64_t number = 0; number < 2; ++number) {
    SHOAL_TRY_ASSIGN(const std::uint64_t epoch, random_number());
    SHOAL_TRY(file->write(number * kSlotSpace, encoded({number, epoch})));
  }
  SHOAL_TRY(file->sync());
  SHOAL_TRY(files.rename(unfinished, path));
  SHOAL_TRY(files.sync_folder(folder));
  return file;
}

}  // namespace

Result<LogContents> read_log(std::span<const std::byte> log, const std::string& path) {
  const std::optional<Slot> first = slot_at(log, 0), second = slot_at(log, kSlotSpace);
  if (!first && !second) return damaged(path, 0, "neither of its two headers can be read");
  const Slot newest = !second || (first && first->number > second->number) ? *first : *second;
  LogContents contents{newest.number, newest.epoch, kFirstRecord, {}};
  while (const auto payload = record_at(log, contents.end, contents.epoch)) {
    contents.payloads.push_back(*payload);
    contents.end += kRecordHeader + payload->size();
  }
  // A log is restarted when it is full: a header torn by that leaves the records of the other one.
  if (!(first && second) && contents.payloads.empty())
    return damaged(path, first ? kSlotSpace : 0, "one of its two headers cannot be read");
  if (const auto later = record_after(log, contents.end, contents.epoch))
    return damaged(path, contents.end,
                   "a record cannot be read, and the one at byte " + std::to_string(*later) + " can");
  return contents;
}

Result<std::unique_ptr<WriteLog>> WriteLog::open(FileSystem& files, const std::string& folder, bool may_create,
                                                 const std::function<Status(std::string_view)>& replay) {
  const std::string path = folder + "/writes.ring";
  auto file = files.open(path);
  if (!file.ok() && file.error().code() == ErrorCode::kNotFound) {
    if (!may_create) return damaged(path, 0, "the file is missing");
    file = create_log(files, folder, path);
  }
  if (!file.ok()) return std::move(file).error();
  // A name that a crash brought back may not be durable yet.
  SHOAL_TRY(files.sync_folder(folder));
  std::unique_ptr<WriteLog> log(new WriteLog(std::move(*file), path));
  SHOAL_TRY(log->replay(replay));
  return log;
}

Status WriteLog::replay(const std::function<Status(std::string_view)>& replay) {
  std::vector<std::byte> bytes(kCapacity);
  SHOAL_TRY_ASSIGN(const std::size_t read, file_->read(0, bytes));
  if (read < kCapacity) return damaged(path_, read, "the file was cut");
  SHOAL_TRY_ASSIGN(const LogContents contents, read_log(bytes, path_));
  number_ = contents.number;
  epoch_ = contents.epoch;
  end_ = contents.end;
  for (const std::string_view payload : contents.payloads) SHOAL_TRY(replay(payload));
  // What a failed sync left in memory only would be read here and then be missing after a power cut, with all that
  // follows it.
  SHOAL_TRY(file_->write(0, std::span(bytes).first(end_)));
  return file_->sync();
}

bool WriteLog::has_room(std::size_t payload_bytes) const { return end_ + kRecordHeader + payload_bytes <= kCapacity; }

Status WriteLog::append(std::string_view payload) {
  SHOAL_CHECK(has_room(payload.size()), "the log is restarted before it is full");
  std::vector<std::byte> record(kRecordHeader + payload.size());
  const auto length = static_cast<std::uint32_t>(payload.size());
  const Digest sum = checksum(epoch_, end_, payload);
  std::memcpy(record.data(), &length, 4);
  std::memcpy(record.data() + 4, &epoch_, 8);
  std::memcpy(record.data() + 12, sum.bytes.data(), sum.bytes.size());
  std::memcpy(record.data() + kRecordHeader, payload.data(), payload.size());
  SHOAL_TRY(file_->write(end_, record));
  SHOAL_TRY(file_->sync());
  end_ += record.size();
  return {};
}

// The new epoch must be there for good before any record is written over: a part of the old ones would take the
// database back.
Status WriteLog::restart() {
  if (end_ == kFirstRecord) return {};
  SHOAL_TRY_ASSIGN(const std::uint64_t epoch, random_number());
  const Slot slot{number_ + 1, epoch};
  SHOAL_TRY(file_->write(slot.number % 2 * kSlotSpace, encoded(slot)));
  SHOAL_TRY(file_->sync());
  number_ = slot.number;
  epoch_ = slot.epoch;
  end_ = kFirstRecord;
  return {};
}

}  // namespace shoal::coordinator
