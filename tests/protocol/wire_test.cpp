#include "protocol/wire.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>

#include "protocol/durable_file.h"
#include "protocol/limits.h"
#include "protocol/message_limits.h"
#include "tests/protocol/sample_messages.h"

namespace shoal::protocol {
namespace {

using Bytes = std::vector<std::byte>;

// The two directions as one type parameter, so that every test covers both.
struct Device {
  using Message = DeviceMessage;
  static constexpr const char* kCorpus = "wire_device";
  static auto samples() { return sample_device_messages(); }
  static Message random(Stream& stream) { return random_device_message(stream); }
  static Result<Message> decode(std::span<const std::byte> bytes) { return decode_device(bytes); }
};
struct Coordinator {
  using Message = CoordinatorMessage;
  static constexpr const char* kCorpus = "wire_coordinator";
  static auto samples() { return sample_coordinator_messages(); }
  static Message random(Stream& stream) { return random_coordinator_message(stream); }
  static Result<Message> decode(std::span<const std::byte> bytes) { return decode_coordinator(bytes); }
};

template <class Direction>
class WireTest : public ::testing::Test {};
using Directions = ::testing::Types<Device, Coordinator>;
TYPED_TEST_SUITE(WireTest, Directions);

TYPED_TEST(WireTest, SamplesCoverEveryKind) {
  std::set<std::size_t> kinds;
  for (const auto& [name, message] : TypeParam::samples()) kinds.insert(message.index());
  EXPECT_EQ(kinds.size(), std::variant_size_v<typename TypeParam::Message>);
}

TYPED_TEST(WireTest, EverySampleEncodesToItsGoldenBytesAndBack) {
  for (const auto& [name, message] : TypeParam::samples()) {
    SCOPED_TRACE(name);
    const std::string path = std::string(SHOAL_SOURCE_DIR) + "/tests/fuzz/corpus/" + TypeParam::kCorpus + "/" + name;
    const Result<std::string> golden = read_file(path, kMaxControlBytes);
    ASSERT_TRUE(golden.ok()) << golden.error().to_string();
    const Bytes bytes = encode(message);
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()), *golden);
    const auto decoded = TypeParam::decode(std::as_bytes(std::span(*golden)));
    ASSERT_TRUE(decoded.ok()) << decoded.error().to_string();
    EXPECT_EQ(*decoded, message);
  }
}

TYPED_TEST(WireTest, RandomMessagesComeBackAsTheyWere) {
  Stream stream(20, "wire round trip");
  for (int i = 0; i < 5000; ++i) {
    const auto message = TypeParam::random(stream);
    const Bytes bytes = encode(message);
    ASSERT_LE(bytes.size(), kMaxControlBytes);
    const auto decoded = TypeParam::decode(bytes);
    ASSERT_TRUE(decoded.ok()) << "message " << i << ": " << decoded.error().to_string();
    ASSERT_EQ(*decoded, message) << "message " << i;
  }
}

TYPED_TEST(WireTest, BytesMayLieAtAnyAddress) {
  for (const auto& [name, message] : TypeParam::samples()) {
    Bytes shifted{std::byte{0}};
    const Bytes bytes = encode(message);
    shifted.insert(shifted.end(), bytes.begin(), bytes.end());
    const auto decoded = TypeParam::decode(std::span(shifted).subspan(1));
    ASSERT_TRUE(decoded.ok()) << name << ": " << decoded.error().to_string();
    EXPECT_EQ(*decoded, message);
  }
}

TYPED_TEST(WireTest, EveryTruncationIsRefused) {
  for (const auto& [name, message] : TypeParam::samples()) {
    const Bytes bytes = encode(message);
    for (std::size_t n = 0; n < bytes.size(); ++n)
      ASSERT_FALSE(TypeParam::decode(std::span(bytes).first(n)).ok()) << name << " cut to " << n << " bytes";
  }
}

TYPED_TEST(WireTest, BytesAfterTheMessageAreRefused) {
  for (const auto& [name, message] : TypeParam::samples()) {
    Bytes bytes = encode(message);
    bytes.resize(bytes.size() + 8);
    EXPECT_FALSE(TypeParam::decode(bytes).ok()) << name;
  }
}

TYPED_TEST(WireTest, MoreThanTheLargestMessageIsRefused) {
  EXPECT_FALSE(TypeParam::decode(Bytes(kMaxControlBytes + 8)).ok());
}

TYPED_TEST(WireTest, AFlippedBitNeverCarriesAValueOutOfItsLimits) {
  std::size_t refused = 0, accepted = 0;
  for (const auto& [name, message] : TypeParam::samples()) {
    const Bytes bytes = encode(message);
    for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
      Bytes mutated = bytes;
      mutated[bit / 8] ^= std::byte(1u << bit % 8);
      const auto decoded = TypeParam::decode(mutated);
      if (decoded.ok()) {
        const Status status = check(*decoded);
        ASSERT_TRUE(status.ok()) << name << ", bit " << bit << ": " << status.error().to_string();
      } else {
        ASSERT_EQ(decoded.error().code(), ErrorCode::kCorrupt);
      }
      ++(decoded.ok() ? accepted : refused);
    }
  }
  EXPECT_GT(refused, 1000u);   // lengths, enums, texts, ranges
  EXPECT_GT(accepted, 1000u);  // ids, keys and counts may be anything
}

TYPED_TEST(WireTest, RandomWordsAreRefusedOrWithinLimits) {
  Stream stream(21, "wire noise");
  for (int i = 0; i < 20000; ++i) {
    Bytes noise(8 * (1 + stream.below(32)));
    for (std::byte& b : noise) b = std::byte(stream.below(3) == 0 ? stream.next32() & 0xFF : 0);
    // A plausible frame, so that the noise is looked at: one segment of all but the first word.
    const std::uint32_t frame[2] = {0, static_cast<std::uint32_t>(noise.size() / 8 - 1)};
    std::memcpy(noise.data(), frame, sizeof frame);
    const auto decoded = TypeParam::decode(noise);
    ASSERT_TRUE(!decoded.ok() || check(*decoded).ok());
  }
}

// ---- values that a correct sender cannot send, put into the bytes of a correct message ----

template <class T>
Bytes with_value(Bytes bytes, T old_value, T new_value) {
  const auto* pattern = reinterpret_cast<const std::byte*>(&old_value);
  const auto found = std::search(bytes.begin(), bytes.end(), pattern, pattern + sizeof old_value);
  EXPECT_NE(found, bytes.end()) << "the value to replace is not in the message";
  std::memcpy(&*found, &new_value, sizeof new_value);
  return bytes;
}

message::OfferUpdate sample_offer() {
  for (const auto& [name, m] : sample_device_messages())
    if (const auto* offer = std::get_if<message::OfferUpdate>(&m)) return *offer;
  return {};
}

TEST(WireValueTest, ALossThatIsNotANumberIsRefused) {
  const message::OfferUpdate offer = sample_offer();
  const Bytes bytes = encode(DeviceMessage(offer));
  for (double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(), -1e31}) {
    const auto decoded = decode_device(with_value(bytes, offer.facts.loss, bad));
    ASSERT_FALSE(decoded.ok());
    EXPECT_THAT(decoded.error().to_string(), ::testing::HasSubstr("facts.loss"));
  }
}

TEST(WireValueTest, NegativeAndEndlessDurationsAreRefused) {
  const message::OfferUpdate offer = sample_offer();
  const Bytes bytes = encode(DeviceMessage(offer));
  for (std::int64_t bad : {std::int64_t{-1}, std::numeric_limits<std::int64_t>::max()}) {
    const auto decoded = decode_device(with_value(bytes, std::int64_t{offer.facts.trained.count()}, bad));
    ASSERT_FALSE(decoded.ok());
    EXPECT_THAT(decoded.error().to_string(), ::testing::HasSubstr("facts.trained"));
  }
}

TEST(WireValueTest, AnUpdateThatNamesAnotherAssignmentIsRefused) {
  message::OfferUpdate offer = sample_offer();
  offer.assignment = {0x1122334455667788};
  offer.object.id = offer.assignment.value;
  const auto decoded =
      decode_device(with_value(encode(DeviceMessage(offer)), offer.assignment.value, std::uint64_t{3}));
  ASSERT_FALSE(decoded.ok());
  EXPECT_THAT(decoded.error().to_string(), ::testing::HasSubstr("object.id"));
}

TEST(WireValueTest, ControlCharactersInTextAreRefused) {
  const Bytes bytes = encode(DeviceMessage(message::TaskFailed{{1},
                                                               "disk\x7F"
                                                               "full"}));  // sent as "disk full"
  const auto decoded = decode_device(with_value(bytes, ' ', '\n'));
  ASSERT_FALSE(decoded.ok());
  EXPECT_THAT(decoded.error().to_string(), ::testing::HasSubstr("reason"));
}

TEST(WireValueTest, TextAndNumbersThatASenderCannotForeseeAreMadeToFit) {
  const message::TaskFailed failed{{1}, std::string(100'000, 'x') + "\n"};
  const auto text = decode_device(encode(DeviceMessage(failed)));
  ASSERT_TRUE(text.ok()) << text.error().to_string();
  EXPECT_EQ(std::get<message::TaskFailed>(*text).reason, std::string(kMaxReasonBytes, 'x'));

  const message::EvaluationDone diverged{{1}, {.samples = 10, .correct = 1, .loss_sum = std::nan("")}};
  const auto loss = decode_device(encode(DeviceMessage(diverged)));
  ASSERT_TRUE(loss.ok()) << loss.error().to_string();
  EXPECT_EQ(std::get<message::EvaluationDone>(*loss).facts.loss_sum, kMaxLoss);
}

TEST(WireValueDeathTest, OtherValuesOutOfTheirLimitsAreABugOfTheSender) {
  const message::EvaluationDone impossible{{1}, {.samples = 10, .correct = 11, .loss_sum = 0}};
  EXPECT_DEATH((void)encode(DeviceMessage(impossible)), "correct is too large");
}

}  // namespace
}  // namespace shoal::protocol
