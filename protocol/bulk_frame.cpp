#include "protocol/bulk_frame.h"

#include <algorithm>
#include <string>

#include "base/check.h"

namespace shoal::protocol {
namespace {

constexpr std::byte kMagic[2] = {std::byte{'S'}, std::byte{'B'}};
constexpr std::byte kVersion{1};
constexpr std::size_t kVersionAt = 2, kKindAt = 3, kIndexAt = 4, kWindowAt = 8, kSizeAt = 12;
constexpr std::size_t kMinTicketBytes = 3;

void put_le32(std::uint32_t value, std::byte* out) {
  for (int i = 0; i < 4; ++i) out[i] = static_cast<std::byte>(value >> (8 * i));
}

std::uint32_t get_le32(const std::byte* in) {
  std::uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value |= std::to_integer<std::uint32_t>(in[i]) << (8 * i);
  return value;
}

Error corrupt(std::string what) { return Error(ErrorCode::kCorrupt, "bulk message with " + std::move(what)); }

// What each kind allows in the three numbers.
Status check(const BulkFrame& frame) {
  const bool has_window = frame.kind == BulkKind::kAck;
  if (!has_window && frame.window != 0) return corrupt("a window where none belongs");
  if (frame.window > kMaxBulkWindow) return corrupt("a window of " + std::to_string(frame.window) + " chunks");
  if (frame.index > kMaxChunks) return corrupt("chunk number " + std::to_string(frame.index));
  const auto size_between = [&](std::size_t low, std::size_t high) { return low <= frame.size && frame.size <= high; };
  switch (frame.kind) {
    case BulkKind::kPut:
      if (frame.index != 0) return corrupt("a number in a put");
      [[fallthrough]];
    case BulkKind::kAck:
      return frame.size == 0 || size_between(kMinTicketBytes, kMaxBulkTicketBytes)
                 ? Status()
                 : corrupt("a ticket of " + std::to_string(frame.size) + " bytes");
    case BulkKind::kDone: return size_between(0, 0) ? Status() : corrupt("a body where none belongs");
    case BulkKind::kChunk:
      return size_between(kTagBytes + 1, kMaxBulkBodyBytes)
                 ? Status()
                 : corrupt("a chunk of " + std::to_string(frame.size) + " bytes");
    case BulkKind::kFailed:
      if (frame.index < static_cast<std::uint32_t>(BulkFailure::kGrammar) ||
          frame.index > static_cast<std::uint32_t>(BulkFailure::kUnsealable))
        return corrupt("an unknown reason");
      return size_between(0, kMaxReasonBytes) ? Status() : corrupt("a reason that is too long");
  }
  return corrupt("an unknown kind");
}

}  // namespace

std::array<std::byte, kBulkHeaderBytes> encode(const BulkFrame& frame) {
  std::array<std::byte, kBulkHeaderBytes> header{};
  std::copy(std::begin(kMagic), std::end(kMagic), header.begin());
  header[kVersionAt] = kVersion;
  header[kKindAt] = static_cast<std::byte>(frame.kind);
  put_le32(frame.index, &header[kIndexAt]);
  put_le32(frame.window, &header[kWindowAt]);
  put_le32(frame.size, &header[kSizeAt]);
  return header;
}

Result<BulkFrame> decode_bulk(std::span<const std::byte> header) {
  if (header.size() != kBulkHeaderBytes) return corrupt("a header of " + std::to_string(header.size()) + " bytes");
  if (!std::equal(std::begin(kMagic), std::end(kMagic), header.begin())) return corrupt("a wrong magic number");
  if (header[kVersionAt] != kVersion) return corrupt("a version that this build does not speak");
  const BulkFrame frame{static_cast<BulkKind>(header[kKindAt]), get_le32(&header[kIndexAt]),
                        get_le32(&header[kWindowAt]), get_le32(&header[kSizeAt])};
  SHOAL_TRY(check(frame));
  return frame;
}

bool has_second_frame(const BulkFrame& frame) {
  return frame.kind == BulkKind::kChunk || frame.kind == BulkKind::kFailed || frame.size > 0;
}

std::string encode(const BulkTicket& ticket) {
  const auto within = [](std::string_view part) { return !part.empty() && part.size() <= kMaxTicketBytes; };
  SHOAL_CHECK(within(ticket.user) && within(ticket.secret), "a ticket beyond its limits");
  std::string bytes(1, static_cast<char>(ticket.user.size()));
  return bytes.append(ticket.user).append(ticket.secret);
}

Result<BulkTicket> decode_bulk_ticket(std::string_view bytes) {
  if (bytes.empty()) return corrupt("an empty ticket");
  const std::size_t length = static_cast<unsigned char>(bytes.front());
  bytes.remove_prefix(1);
  if (length < 1 || length > kMaxTicketBytes || bytes.size() <= length || bytes.size() > length + kMaxTicketBytes)
    return corrupt("a ticket that makes no sense");
  return BulkTicket{bytes.substr(0, length), bytes.substr(length)};
}

}  // namespace shoal::protocol
