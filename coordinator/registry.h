// Who may talk to this coordinator: enrolled devices and outstanding invitations, by public key.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "base/ids.h"
#include "base/options.h"
#include "base/result.h"
#include "coordinator/store.h"
#include "protocol/facts.h"
#include "protocol/refusal.h"
#include "protocol/transport.h"

namespace shoal::coordinator {

enum class Standing : std::uint8_t { kPending = 0, kApproved = 1, kRevoked = 2 };
inline EnumNames<Standing> enum_names(Standing) {
  static constexpr std::array<std::pair<Standing, std::string_view>, 3> kNames{
      {{Standing::kPending, "pending"}, {Standing::kApproved, "approved"}, {Standing::kRevoked, "revoked"}}};
  return kNames;
}

// Times here are wall-clock seconds since 1970: they are for people and for invitations that expire.
struct DeviceRecord {
  DeviceId id;
  std::string name;
  protocol::PublicKey key{};
  Standing standing = Standing::kPending;
  std::int64_t enrolled_at = 0;
  protocol::Refusal last_refusal = protocol::Refusal::kNone;
  std::string last_refusal_detail;
  std::int64_t last_refusal_at = 0;
  template <class A>
  void fields(A& a) {
    a(id, name, key, standing, enrolled_at, last_refusal, last_refusal_detail, last_refusal_at);
  }
};

struct InvitationRecord {
  protocol::PublicKey key{};  // the public half; whoever holds the secret half may redeem
  std::int64_t expires_at = 0;
  DeviceId device;  // who redeemed it; 0 = still open
  template <class A>
  void fields(A& a) {
    a(key, expires_at, device);
  }
};

// Changes are durable when the call returns, apart from last refusals: note_refusal() only remembers. admit() may be
// called from any thread; everything else is the owner thread's.
class Registry {
 public:
  // `journal` outlives the registry.
  static Result<std::unique_ptr<Registry>> load(Journal& journal);

  // For the transport: nullopt ends the handshake of an unknown key.
  std::optional<protocol::PeerClass> admit(const protocol::PublicKey& key) const;

  Status invite(const protocol::PublicKey& key, std::int64_t expires_at);
  // Enrols `device_key` by the invitation. Redeeming again with the same device key gives the same device.
  Result<std::variant<DeviceRecord, protocol::Refusal>> redeem(const protocol::PublicKey& invitation,
                                                               const protocol::PublicKey& device_key,
                                                               const std::string& name, bool approve, std::int64_t now);
  Status set_standing(DeviceId id, Standing standing);
  void note_refusal(DeviceId id, protocol::Refusal refusal, std::string detail, std::int64_t now);
  // Makes the newest refusals of at most so many devices durable, those of others the next time.
  Status save_refusals(std::size_t most);

  const DeviceRecord* find(DeviceId id) const;
  const DeviceRecord* find(const protocol::PublicKey& key) const;
  std::vector<DeviceRecord> devices() const;
  std::size_t size() const { return devices_.size(); }
  std::size_t open_invitations(std::int64_t now) const;
  // Forgets invitations that expired more than a day ago.
  Status sweep(std::int64_t now);

 private:
  explicit Registry(Journal& journal) : journal_(&journal) {}
  Status store(const DeviceRecord& record);
  Status store(const InvitationRecord& record);

  Journal* journal_;
  std::map<DeviceId, DeviceRecord> devices_;
  std::map<protocol::PublicKey, InvitationRecord> invitations_;
  std::set<DeviceId> unsaved_;  // their last refusal is newer than their row
  DeviceId saved_last_;
  mutable std::mutex mutex_;  // guards by_key_, which the transport's thread reads
  std::map<protocol::PublicKey, std::pair<protocol::PeerClass, DeviceId>> by_key_;
};

}  // namespace shoal::coordinator
