// The grammar of the bulk plane: what the two ends of a connection say to each other.
//
//   connection := (upload | download)*       one after the other
//   upload   := client: put      server: ack (client: chunk | server: ack)* done
//   download := client: ack      (server: chunk | client: ack)*              client: done
//   Either side may end a transfer at any point with `failed`.
//
//   The client's first message opens a transfer with a ticket: that of the handshake, once; later ones bring their own.
//
//   message := header            for put, ack, done
//            | header ticket     for put and ack: opens a transfer with this ticket
//            | header chunk      for chunk: the second frame is the sealed chunk
//            | header text       for failed: the second frame is UTF-8 for a person, may be empty
//   header  := "SB" version kind index window size        16 bytes, one frame
//   version := u8, 1
//   kind    := u8, a BulkKind
//   index   := u32   put: 0. ack: next chunk that the receiver wants; it holds all before. chunk: its number.
//                    done: number of chunks. failed: a BulkFailure
//   window  := u32   ack: chunks index .. index + window - 1 may be sent. Else 0
//   size    := u32   bytes of the second frame; 0 where there is none
//   ticket  := length user secret
//   length  := u8    bytes of the user; the secret is the rest. Each has 1 to kMaxTicketBytes
//   Numbers are little endian.
//
// The receiver speaks in acks: each one says what it holds for good and how much more it has room for, so that a
// transfer that breaks off is resumed from the last of them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "protocol/limits.h"

namespace shoal::protocol {

inline constexpr std::size_t kBulkHeaderBytes = 16;
inline constexpr std::size_t kMaxBulkBodyBytes = kChunkBytes + kTagBytes;
inline constexpr std::size_t kMaxBulkTicketBytes = 1 + 2 * kMaxTicketBytes;
inline constexpr std::uint32_t kMaxBulkWindow = 64;  // chunks of one transfer on their way

// Values are permanent.
enum class BulkKind : std::uint8_t { kPut = 1, kAck = 2, kChunk = 3, kDone = 4, kFailed = 5 };

// Why a transfer was ended by the other side. Values are permanent.
enum class BulkFailure : std::uint8_t {
  kGrammar = 1,     // a message out of order, or of the wrong size
  kStalled = 2,     // nothing arrived for too long
  kWithdrawn = 3,   // the ticket is not valid any more
  kStorage = 4,     // no room for the chunk
  kAbandoned = 5,   // the other side cannot or does not want to go on
  kUnsealable = 6,  // a chunk did not open with its key
};

struct BulkFrame {
  BulkKind kind = BulkKind::kFailed;
  std::uint32_t index = 0;
  std::uint32_t window = 0;
  std::uint32_t size = 0;

  friend bool operator==(const BulkFrame&, const BulkFrame&) = default;
};

std::array<std::byte, kBulkHeaderBytes> encode(const BulkFrame& frame);

// kCorrupt, saying which part is wrong. Never allocates for a good header. A chunk's size is checked against the object
// by whoever knows it.
Result<BulkFrame> decode_bulk(std::span<const std::byte> header);

// Whether a second frame follows: what has room for a body or a text always has one, if empty.
bool has_second_frame(const BulkFrame& frame);

// A ticket as an opening message brings it, without its endpoint.
struct BulkTicket {
  std::string_view user, secret;
  friend bool operator==(const BulkTicket&, const BulkTicket&) = default;
};

// Both parts within their limits.
std::string encode(const BulkTicket& ticket);

// kCorrupt, or views into `bytes`.
Result<BulkTicket> decode_bulk_ticket(std::string_view bytes);

}  // namespace shoal::protocol
