#include "protocol/sha256.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/rng.h"

namespace shoal::protocol {
namespace {

std::string hex_of(std::string_view text) { return sha256(std::as_bytes(std::span(text))).hex(); }

TEST(Sha256Test, PublishedVectors) {
  EXPECT_EQ(hex_of(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hex_of("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hex_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(hex_of(std::string(1'000'000, 'a')), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256Test, AnyDivisionIntoPiecesGivesTheSameDigest) {
  Stream stream(1, "sha256");
  std::vector<std::byte> bytes(10'000);
  for (std::byte& b : bytes) b = std::byte(stream.next32() & 0xFF);
  for (int i = 0; i < 50; ++i) {
    Sha256 hash;
    for (std::span<const std::byte> rest(bytes); !rest.empty();) {
      const std::size_t n = std::min<std::size_t>(rest.size(), stream.below(300));
      hash.update(rest.first(n));
      rest = rest.subspan(n);
    }
    ASSERT_EQ(hash.finish(), sha256(bytes));
  }
}

TEST(Sha256Test, StartsAnewAfterADigest) {
  Sha256 hash;
  hash.update(std::as_bytes(std::span(std::string_view("earlier"))));
  (void)hash.finish();
  EXPECT_EQ(hash.finish().hex(), hex_of(""));
}

TEST(Sha256Test, AMovedHashContinues) {
  Sha256 first;
  first.update(std::as_bytes(std::span(std::string_view("ab"))));
  Sha256 second = std::move(first);
  second.update(std::as_bytes(std::span(std::string_view("c"))));
  EXPECT_EQ(second.finish().hex(), hex_of("abc"));
}

}  // namespace
}  // namespace shoal::protocol
