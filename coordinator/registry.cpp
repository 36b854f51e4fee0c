#include "coordinator/registry.h"

#include "base/archive.h"
#include "base/check.h"

namespace shoal::coordinator {
namespace {

using protocol::PeerClass;
using protocol::PublicKey;
using protocol::Refusal;

constexpr std::string_view kDevices = "devices";
constexpr std::string_view kInvitations = "invitations";
constexpr std::int64_t kForgetAfter = 24 * 3600;

std::string row_key(DeviceId id) {
  std::string key(8, '\0');
  for (int i = 0; i < 8; ++i) key[static_cast<std::size_t>(i)] = static_cast<char>(id.value >> (56 - 8 * i));
  return key;
}
std::string row_key(const PublicKey& key) { return {reinterpret_cast<const char*>(key.data()), key.size()}; }

PeerClass class_of(const DeviceRecord& record) {
  return record.standing == Standing::kRevoked ? PeerClass::kRefused : PeerClass::kDevice;
}

}  // namespace

Result<std::unique_ptr<Registry>> Registry::load(Journal& journal) {
  std::unique_ptr<Registry> registry(new Registry(journal));
  SHOAL_TRY_ASSIGN(auto device_rows, journal.scan(kDevices));
  for (const auto& [key, value] : device_rows) {
    auto record = decode_state<DeviceRecord>(value);
    if (!record) return Error(ErrorCode::kCorrupt, "a device's record in the data folder cannot be read by this build");
    registry->by_key_[record->key] = {class_of(*record), record->id};
    registry->devices_.emplace(record->id, std::move(*record));
  }
  SHOAL_TRY_ASSIGN(auto invitation_rows, journal.scan(kInvitations));
  for (const auto& [key, value] : invitation_rows) {
    auto record = decode_state<InvitationRecord>(value);
    if (!record)
      return Error(ErrorCode::kCorrupt, "an invitation's record in the data folder cannot be read by this build");
    registry->by_key_[record->key] = {PeerClass::kInvitation, {}};
    registry->invitations_.emplace(record->key, *record);
  }
  return registry;
}

std::optional<PeerClass> Registry::admit(const PublicKey& key) const {
  const std::lock_guard lock(mutex_);
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return std::nullopt;
  return found->second.first;
}

Status Registry::store(const DeviceRecord& record) {
  SHOAL_TRY(journal_->put(kDevices, row_key(record.id), encode_state(record)));
  unsaved_.erase(record.id);
  const std::lock_guard lock(mutex_);
  by_key_[record.key] = {class_of(record), record.id};
  return {};
}

Status Registry::store(const InvitationRecord& record) {
  SHOAL_TRY(journal_->put(kInvitations, row_key(record.key), encode_state(record)));
  const std::lock_guard lock(mutex_);
  by_key_[record.key] = {PeerClass::kInvitation, {}};
  return {};
}

Status Registry::invite(const PublicKey& key, std::int64_t expires_at) {
  const InvitationRecord record{key, expires_at, {}};
  SHOAL_TRY(store(record));
  invitations_[key] = record;
  return {};
}

Result<std::variant<DeviceRecord, Refusal>> Registry::redeem(const PublicKey& invitation, const PublicKey& device_key,
                                                             const std::string& name, bool approve, std::int64_t now) {
  using Answer = std::variant<DeviceRecord, Refusal>;
  const auto found = invitations_.find(invitation);
  if (found == invitations_.end()) return Answer(Refusal::kUnknownKey);
  if (found->second.device) {
    const DeviceRecord& holder = devices_.at(found->second.device);
    return holder.key == device_key ? Answer(holder) : Answer(Refusal::kInvitationUsed);
  }
  if (now >= found->second.expires_at) return Answer(Refusal::kInvitationExpired);
  const DeviceRecord* known = find(device_key);
  if (known != nullptr && known->standing == Standing::kRevoked) return Answer(Refusal::kRevoked);

  DeviceRecord record;
  if (known != nullptr) {
    record = *known;  // the same device joins once more: it keeps its id
  } else {
    record.id = DeviceId{devices_.empty() ? 1 : devices_.rbegin()->first.value + 1};
    record.key = device_key;
    record.enrolled_at = now;
    record.standing = approve ? Standing::kApproved : Standing::kPending;
  }
  record.name = name;
  // The device first: if only it becomes durable, redeeming again finds it by its key.
  SHOAL_TRY(store(record));
  devices_[record.id] = record;
  found->second.device = record.id;
  SHOAL_TRY(store(found->second));
  return Answer(record);
}

Status Registry::set_standing(DeviceId id, Standing standing) {
  const auto found = devices_.find(id);
  if (found == devices_.end()) return Error(ErrorCode::kNotFound, "there is no device " + std::to_string(id.value));
  DeviceRecord record = found->second;
  record.standing = standing;
  SHOAL_TRY(store(record));
  found->second = std::move(record);
  return {};
}

void Registry::note_refusal(DeviceId id, Refusal refusal, std::string detail, std::int64_t now) {
  const auto found = devices_.find(id);
  if (found == devices_.end()) return;
  found->second.last_refusal = refusal;
  found->second.last_refusal_detail = std::move(detail);
  found->second.last_refusal_at = now;
  unsaved_.insert(id);
}

Status Registry::save_refusals(std::size_t most) {
  for (; most > 0 && !unsaved_.empty(); --most) {
    auto next = unsaved_.upper_bound(saved_last_);  // in turn, so that nobody waits for ever
    if (next == unsaved_.end()) next = unsaved_.begin();
    saved_last_ = *next;
    SHOAL_TRY(store(devices_.at(saved_last_)));
  }
  return {};
}

const DeviceRecord* Registry::find(DeviceId id) const {
  const auto found = devices_.find(id);
  return found == devices_.end() ? nullptr : &found->second;
}

const DeviceRecord* Registry::find(const PublicKey& key) const {
  const std::lock_guard lock(mutex_);
  const auto found = by_key_.find(key);
  if (found == by_key_.end() || !found->second.second) return nullptr;
  return find(found->second.second);
}

std::vector<DeviceRecord> Registry::devices() const {
  std::vector<DeviceRecord> all;
  for (const auto& [id, record] : devices_) all.push_back(record);
  return all;
}

std::size_t Registry::open_invitations(std::int64_t now) const {
  std::size_t n = 0;
  for (const auto& [key, record] : invitations_) n += !record.device && now < record.expires_at;
  return n;
}

Status Registry::sweep(std::int64_t now) {
  for (auto it = invitations_.begin(); it != invitations_.end();) {
    if (now < it->second.expires_at + kForgetAfter) {
      ++it;
      continue;
    }
    SHOAL_TRY(journal_->put(kInvitations, row_key(it->first), {}));
    {
      const std::lock_guard lock(mutex_);
      by_key_.erase(it->first);
    }
    it = invitations_.erase(it);
  }
  return {};
}

}  // namespace shoal::coordinator
