// The archive: everything it writes it reads back, and nothing else.
#include "base/archive.h"

#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "base/digest.h"
#include "base/ids.h"
#include "base/rng.h"
#include "base/time.h"

namespace shoal {
namespace {

enum class Kind : std::uint16_t { kOne = 1, kMany = 500 };

struct Part {
  double x = 0;
  std::string name;
  template <class A>
  void fields(A& a) {
    a(x, name);
  }
  friend bool operator==(const Part&, const Part&) = default;
};

struct Whole {
  bool flag = false;
  Kind kind = Kind::kOne;
  std::int64_t negative = 0;
  std::vector<Part> parts;
  std::map<JobId, std::string> names;
  std::set<std::uint32_t> numbers;
  std::optional<Part> maybe;
  std::variant<std::uint8_t, std::string, Part> one_of;
  std::pair<int, bool> pair;
  std::array<std::uint16_t, 3> three{};
  Time when{};
  Duration lasting{};
  Digest digest;
  template <class A>
  void fields(A& a) {
    a(flag, kind, negative, parts, names, numbers, maybe, one_of, pair, three, when, lasting, digest);
  }
  friend bool operator==(const Whole&, const Whole&) = default;
};

Whole sample() {
  Whole w;
  w.flag = true;
  w.kind = Kind::kMany;
  w.negative = -5;
  w.parts = {{1.5, "a"}, {-0.0, std::string("b\0c", 3)}};
  w.names = {{JobId{2}, "two"}, {JobId{9}, ""}};
  w.numbers = {3, 1, 2};
  w.maybe = Part{2.5, "maybe"};
  w.one_of = Part{3.5, "third"};
  w.pair = {7, true};
  w.three = {1, 2, 3};
  w.when = Time{} + std::chrono::seconds(5);
  w.lasting = std::chrono::milliseconds(3);
  w.digest.bytes[31] = 0xab;
  return w;
}

TEST(Archive, ReadsBackWhatItWrote) {
  EXPECT_EQ(decode_state<Whole>(encode_state(sample())), sample());
  EXPECT_EQ(decode_state<Whole>(encode_state(Whole{})), Whole{});
}

TEST(Archive, EveryTruncationIsRefused) {
  const std::string bytes = encode_state(sample());
  for (std::size_t n = 0; n < bytes.size(); ++n)
    EXPECT_FALSE(decode_state<Whole>(std::string_view(bytes).substr(0, n))) << n;
}

TEST(Archive, TrailingBytesAreRefused) { EXPECT_FALSE(decode_state<Whole>(encode_state(sample()) + '\0')); }

TEST(Archive, ACountBeyondTheInputAllocatesNothing) {
  // 2^60 items of one byte each would be an exabyte.
  std::string bytes = encode_state(std::uint64_t{1} << 60);
  EXPECT_FALSE(decode_state<std::vector<std::uint8_t>>(bytes));
  EXPECT_FALSE(decode_state<std::string>(bytes));
  EXPECT_FALSE((decode_state<std::map<int, int>>(bytes)));
}

TEST(Archive, ValuesOutsideTheirTypeAreRefused) {
  EXPECT_FALSE(decode_state<bool>(std::string(1, '\2')));
  EXPECT_FALSE((decode_state<std::variant<bool, int>>(std::string(1, '\2'))));
  EXPECT_FALSE(decode_state<std::optional<int>>(std::string(1, '\7')));
  Encoder twice;
  twice(std::uint64_t{2}, std::uint32_t{5}, std::uint32_t{5});
  EXPECT_FALSE(decode_state<std::set<std::uint32_t>>(twice.bytes())) << "a set has no repeated members";
}

TEST(Archive, RandomDamageNeverCrashes) {
  const std::string bytes = encode_state(sample());
  Stream stream(1, "damage");
  int refused = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string damaged = bytes;
    for (std::uint64_t hits = 1 + stream.below(4); hits > 0; --hits)
      damaged[stream.below(damaged.size())] = static_cast<char>(stream.below(256));
    const auto decoded = decode_state<Whole>(damaged);
    if (!decoded) {
      ++refused;
    } else {
      // What is accepted means something: the same bytes again, but for the order and repetition that a map forgets.
      EXPECT_TRUE(decode_state<Whole>(encode_state(*decoded)).has_value());
    }
  }
  EXPECT_GT(refused, 1000);
}

TEST(Archive, LittleEndianOnEveryMachine) {
  EXPECT_EQ(encode_state(std::uint32_t{0x01020304}), std::string("\4\3\2\1", 4));
  EXPECT_EQ(encode_state(std::string("ab")), std::string("\2\0\0\0\0\0\0\0ab", 10));
}

}  // namespace
}  // namespace shoal
