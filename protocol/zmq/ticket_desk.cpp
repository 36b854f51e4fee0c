#include "protocol/zmq/ticket_desk.h"

#include <array>
#include <cstddef>
#include <utility>

#include "protocol/keys.h"

namespace shoal::protocol::zmq {
namespace {

constexpr std::size_t kUserBytes = 16, kSecretBytes = 32;

template <std::size_t N>
Result<std::string> random_hex() {
  std::array<std::byte, N> bytes;
  SHOAL_TRY(random_bytes(bytes));
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const std::byte b : bytes)
    text += {kDigits[std::to_integer<int>(b >> 4)], kDigits[std::to_integer<int>(b & std::byte{15})]};
  return text;
}

// In a time that does not tell where two secrets differ.
bool same_secret(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  volatile unsigned char difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i) difference = difference | static_cast<unsigned char>(a[i] ^ b[i]);
  return difference == 0;
}

}  // namespace

Result<Ticket> TicketDesk::issue(std::shared_ptr<Offer> offer, Time now, Duration validity) {
  SHOAL_TRY_ASSIGN(std::string user, random_hex<kUserBytes>());
  SHOAL_TRY_ASSIGN(std::string secret, random_hex<kSecretBytes>());
  offer->user = user;
  const std::lock_guard lock(mutex_);
  entries_[user] = Entry{secret, std::move(offer), Stage::kOffered, now, saturating_add(now, validity)};
  return Ticket{{}, std::move(user), std::move(secret)};
}

TicketDesk::Entry* TicketDesk::find_offered(std::string_view user, std::string_view secret, Time now) {
  const auto found = entries_.find(user);
  if (found == entries_.end()) return nullptr;
  Entry& entry = found->second;
  if (!same_secret(entry.secret, secret) || entry.stage != Stage::kOffered || now >= entry.expires) return nullptr;
  return &entry;
}

std::optional<Account> TicketDesk::admit(std::string_view user, std::string_view secret, Time now) {
  const std::lock_guard lock(mutex_);
  Entry* entry = find_offered(user, secret, now);
  if (entry == nullptr) return std::nullopt;
  entry->stage = Stage::kAdmitted;
  entry->since = now;
  return entry->offer->account;
}

std::shared_ptr<Offer> TicketDesk::start(const std::string& user) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(user);
  if (found == entries_.end() || found->second.stage != Stage::kAdmitted) return nullptr;
  found->second.stage = Stage::kRunning;
  return found->second.offer;
}

std::shared_ptr<Offer> TicketDesk::start(std::string_view user, std::string_view secret, DeviceId device, Time now) {
  const std::lock_guard lock(mutex_);
  Entry* entry = find_offered(user, secret, now);
  if (entry == nullptr || entry->offer->account.device != device) return nullptr;
  entry->stage = Stage::kRunning;
  return entry->offer;
}

std::shared_ptr<Offer> TicketDesk::remove(const std::string& user) {
  const std::lock_guard lock(mutex_);
  auto node = entries_.extract(user);
  return node.empty() ? nullptr : std::move(node.mapped().offer);
}

void TicketDesk::sweep(Time now, Duration grace) {
  std::map<std::string, Entry, std::less<>> expired;  // destroyed outside the lock: a sink's end may call back
  {
    const std::lock_guard lock(mutex_);
    for (auto it = entries_.begin(); it != entries_.end();) {
      const Entry& entry = it->second;
      const bool over = (entry.stage == Stage::kOffered && now >= entry.expires) ||
                        (entry.stage == Stage::kAdmitted && now - entry.since >= grace);
      const auto next = std::next(it);
      if (over) expired.insert(entries_.extract(it));
      it = next;
    }
  }
}

bool TicketDesk::empty() const {
  const std::lock_guard lock(mutex_);
  return entries_.empty();
}

}  // namespace shoal::protocol::zmq
