// The bulk grammar: golden bytes, and a refusal for everything that it does not allow.
#include "protocol/bulk_frame.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/rng.h"

namespace shoal::protocol {
namespace {

std::string hex(std::span<const std::byte> bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const std::byte b : bytes)
    text += {kDigits[std::to_integer<int>(b >> 4)], kDigits[std::to_integer<int>(b & std::byte{15})]};
  return text;
}

TEST(BulkFrame, BytesNeverChangeBetweenVersions) {
  EXPECT_EQ(hex(encode({BulkKind::kPut, 0, 0, 0})), "53420101000000000000000000000000");
  EXPECT_EQ(hex(encode({BulkKind::kAck, 0x01020304, 8, 0})), "53420102040302010800000000000000");
  EXPECT_EQ(hex(encode({BulkKind::kChunk, 5, 0, 0x40010})), "53420103050000000000000010000400");
  EXPECT_EQ(hex(encode({BulkKind::kDone, 191, 0, 0})), "53420104bf0000000000000000000000");
  EXPECT_EQ(hex(encode({BulkKind::kFailed, 3, 0, 12})), "5342010503000000000000000c000000");
  EXPECT_EQ(hex(encode({BulkKind::kPut, 0, 0, 97})), "53420101000000000000000061000000");
  const std::string ticket = encode(BulkTicket{"ab", "cde"});
  EXPECT_EQ(hex(std::as_bytes(std::span(ticket))), "026162636465");
}

TEST(BulkFrame, EveryAllowedFrameComesBack) {
  const auto last = static_cast<std::uint32_t>(kMaxChunks);
  const auto whole = static_cast<std::uint32_t>(kMaxBulkBodyBytes);
  const std::vector<BulkFrame> frames = {
      {BulkKind::kPut, 0, 0, 0},          {BulkKind::kAck, 0, 0, 0},       {BulkKind::kAck, last, kMaxBulkWindow, 0},
      {BulkKind::kChunk, last, 0, whole}, {BulkKind::kChunk, 0, 0, 17},    {BulkKind::kDone, last, 0, 0},
      {BulkKind::kFailed, 1, 0, 0},       {BulkKind::kFailed, 6, 0, 1024}, {BulkKind::kPut, 0, 0, 3},
      {BulkKind::kPut, 0, 0, 257},        {BulkKind::kAck, 5, 1, 3},       {BulkKind::kAck, 0, 0, 257},
  };
  for (const BulkFrame& frame : frames) {
    const auto decoded = decode_bulk(encode(frame));
    ASSERT_TRUE(decoded.ok()) << decoded.error().to_string();
    EXPECT_EQ(*decoded, frame);
  }
}

TEST(BulkFrame, WhatTheGrammarDoesNotAllowIsRefused) {
  const auto beyond = static_cast<std::uint32_t>(kMaxChunks + 1);
  const auto too_long = static_cast<std::uint32_t>(kMaxBulkBodyBytes + 1);
  const std::vector<BulkFrame> frames = {
      {BulkKind::kPut, 1, 0, 0},           {BulkKind::kPut, 0, 1, 0},          {BulkKind::kPut, 0, 0, 1},
      {BulkKind::kAck, beyond, 1, 0},      {BulkKind::kAck, 0, 65, 0},         {BulkKind::kAck, 0, 1, 1},
      {BulkKind::kChunk, 0, 0, 16},        {BulkKind::kChunk, 0, 0, too_long}, {BulkKind::kChunk, beyond, 0, 100},
      {BulkKind::kChunk, 0, 1, 100},       {BulkKind::kDone, beyond, 0, 0},    {BulkKind::kDone, 1, 0, 1},
      {BulkKind::kFailed, 0, 0, 0},        {BulkKind::kFailed, 7, 0, 0},       {BulkKind::kFailed, 1, 0, 1025},
      {BulkKind::kPut, 0, 0, 2},           {BulkKind::kPut, 0, 0, 258},        {BulkKind::kAck, 0, 1, 2},
      {BulkKind::kAck, 0, 1, 258},         {BulkKind::kDone, 1, 0, 3},         {static_cast<BulkKind>(0), 0, 0, 0},
      {static_cast<BulkKind>(6), 0, 0, 0},
  };
  for (const BulkFrame& frame : frames) {
    const auto decoded = decode_bulk(encode(frame));
    ASSERT_FALSE(decoded.ok()) << hex(encode(frame));
    EXPECT_EQ(decoded.error().code(), ErrorCode::kCorrupt);
  }
}

TEST(BulkFrame, WrongLengthMagicAndVersionAreRefused) {
  const auto good = encode({BulkKind::kPut, 0, 0, 0});
  for (std::size_t size = 0; size < good.size(); ++size) EXPECT_FALSE(decode_bulk(std::span(good).first(size)).ok());
  std::vector<std::byte> longer(good.begin(), good.end());
  longer.push_back(std::byte{0});
  EXPECT_FALSE(decode_bulk(longer).ok());
  for (const std::size_t at : {0, 1, 2}) {
    auto bad = good;
    bad[at] ^= std::byte{1};
    EXPECT_FALSE(decode_bulk(bad).ok());
  }
}

TEST(BulkFrame, WhateverDecodesEncodesToTheSameBytes) {
  Stream random(3, "frames");
  int decoded_count = 0;
  for (int i = 0; i < 100'000; ++i) {
    auto bytes = encode({static_cast<BulkKind>(random.below(7)), static_cast<std::uint32_t>(random.below(9)),
                         static_cast<std::uint32_t>(random.below(3)), static_cast<std::uint32_t>(random.below(40))});
    if (random.below(4) == 0) bytes[random.below(bytes.size())] = static_cast<std::byte>(random.next32());
    const auto decoded = decode_bulk(bytes);
    if (!decoded.ok()) continue;
    ++decoded_count;
    EXPECT_EQ(encode(*decoded), bytes);
  }
  EXPECT_GT(decoded_count, 1000);
}

TEST(BulkTicket, EveryAllowedTicketComesBack) {
  const std::string longest(kMaxTicketBytes, 'x'), binary("\0\377", 2);
  for (const std::string& user : {std::string("u"), longest, binary}) {
    for (const std::string& secret : {std::string("s"), longest, binary}) {
      const std::string bytes = encode(BulkTicket{user, secret});
      EXPECT_LE(bytes.size(), kMaxBulkTicketBytes);
      const auto decoded = decode_bulk_ticket(bytes);
      ASSERT_TRUE(decoded.ok()) << decoded.error().to_string();
      EXPECT_EQ(*decoded, (BulkTicket{user, secret}));
    }
  }
}

TEST(BulkTicket, PartsBeyondTheirLimitsAreRefused) {
  const std::string most(kMaxTicketBytes, 'x');
  const auto prefixed = [](std::size_t length, const std::string& rest) {
    return std::string(1, static_cast<char>(length)) + rest;
  };
  for (const std::string& bytes :
       {std::string(), prefixed(0, ""), prefixed(0, "secret"), prefixed(1, ""), prefixed(1, "u"), prefixed(5, "user"),
        prefixed(4, "user"), prefixed(kMaxTicketBytes + 1, most + "us"), prefixed(255, most + most),
        prefixed(1, "u" + most + "s")}) {
    const auto decoded = decode_bulk_ticket(bytes);
    ASSERT_FALSE(decoded.ok()) << bytes;
    EXPECT_EQ(decoded.error().code(), ErrorCode::kCorrupt);
  }
}

}  // namespace
}  // namespace shoal::protocol
