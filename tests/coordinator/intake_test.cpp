#include "coordinator/intake.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <semaphore>

#include "coordinator/memory_store.h"

namespace shoal::coordinator {
namespace {

using protocol::Refusal;

// An update of a little more than one chunk, as a device would send it.
struct Sent {
  explicit Sent(std::vector<float> values) {
    plain.resize(values.size() * sizeof(float));
    std::memcpy(plain.data(), values.data(), plain.size());
    offer.device = DeviceId{1};
    offer.assignment = AssignmentId{5};
    offer.object.id = 5;
    offer.object.bytes = plain.size();
    offer.object.key.fill(7);
    offer.bound = 1;
    protocol::ChunkCipher cipher(offer.object);
    protocol::Sha256 tags;
    for (std::uint32_t c = 0; c < offer.object.chunks(); ++c) {
      const std::size_t begin = c * protocol::kChunkBytes;
      auto& sealed = chunks.emplace_back(offer.object.sealed_bytes(c));
      cipher.seal(c, std::span(plain).subspan(begin, std::min(protocol::kChunkBytes, plain.size() - begin)), sealed);
      tags.update(std::span(sealed).last(protocol::kTagBytes));
    }
    offer.facts.digest = tags.finish();
    offer.facts.bytes = plain.size();
  }
  std::vector<std::byte> plain;
  std::vector<std::vector<std::byte>> chunks;
  Offer offer;
};

class IntakeTest : public ::testing::Test {
 protected:
  template <class Take>
  auto wait_for(Take take) {
    auto taken = take();
    while (taken.empty()) {
      woken.acquire();
      taken = take();
    }
    return taken;
  }

  // Everything from the first missing chunk on, then the result.
  IntakeResult send(const Sent& sent) {
    const Opening opening = open(sent);
    for (std::uint32_t c = opening.held; c < sent.chunks.size(); ++c)
      if (!opening.sink->write(c, sent.chunks[c]).ok()) return result();
    opening.sink->complete();
    return result();
  }
  Opening open(const Sent& sent) {
    auto opening = intake.receive(sent.offer).value();
    if (opening) return *opening;
    EXPECT_TRUE(intake.settling(sent.offer.assignment));
    const auto resumed = wait_for([&] { return intake.resumed(); });
    EXPECT_EQ(resumed.size(), 1u);
    EXPECT_FALSE(intake.settling(sent.offer.assignment));
    return resumed.at(0).opening.value();
  }
  IntakeResult result() {
    const auto results = wait_for([&] { return intake.results(); });
    EXPECT_EQ(results.size(), 1u);
    return results.at(0);
  }
  static std::vector<float> values() { return std::vector<float>(protocol::kChunkBytes / 4 + 100, 0.25f); }

  MemoryStore store;
  std::counting_semaphore<> woken{0};
  Intake intake{store.bodies, [this] { woken.release(); }};
};

TEST_F(IntakeTest, TakesAWellFormedUpdateAndMeasuresItsNorm) {
  const IntakeResult taken = send(Sent(values()));
  EXPECT_EQ(taken.refusal, Refusal::kNone);
  EXPECT_FALSE(taken.error);
  EXPECT_NEAR(taken.offer.facts.norm, 0.25 * std::sqrt(static_cast<double>(values().size())), 1e-6);
  store.crash();
  EXPECT_EQ(store.bodies.held().size(), 1u) << "synced before it was reported";
}

TEST_F(IntakeTest, RefusesValuesThatAreNotFiniteOrOutOfBound) {
  std::vector<float> bad = values();
  bad.back() = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(send(Sent(bad)).refusal, Refusal::kNotFinite);
  const AssignmentId first[] = {AssignmentId{5}};
  ASSERT_TRUE(store.bodies.release(first).ok());
  bad.back() = 1.0001f;
  EXPECT_EQ(send(Sent(bad)).refusal, Refusal::kOutOfBound);
}

TEST_F(IntakeTest, RefusesAChunkThatDoesNotOpen) {
  Sent sent(values());
  sent.chunks[1][3] ^= std::byte{1};
  EXPECT_EQ(send(sent).refusal, Refusal::kUnsealable);
}

TEST_F(IntakeTest, RefusesABodyWithAnotherDigestThanOffered) {
  Sent sent(values());
  sent.offer.facts.digest.bytes[0] ^= 1;
  EXPECT_EQ(send(sent).refusal, Refusal::kConflict);
}

TEST_F(IntakeTest, JudgesChunksOfAnEarlierLifeAgain) {
  const Sent sent(values());
  ASSERT_TRUE(store.bodies.open(sent.offer.assignment, sent.offer.object).ok());
  ASSERT_TRUE(store.bodies.write(sent.offer.assignment, 0, sent.chunks[0]).ok());
  EXPECT_EQ(open(sent).held, 1u);
  const IntakeResult taken = send(sent);  // sends chunk 1 only
  EXPECT_EQ(taken.refusal, Refusal::kNone);
  EXPECT_NEAR(taken.offer.facts.norm, 0.25 * std::sqrt(static_cast<double>(values().size())), 1e-6);
}

TEST_F(IntakeTest, GoesOnWhereItBrokeOffWithoutReadingBack) {
  const Sent sent(values());
  Opening opening = open(sent);
  ASSERT_TRUE(opening.sink->write(0, sent.chunks[0]).ok());
  opening = {};
  store.faults.before = [](StoreOperation operation) -> Status {
    EXPECT_NE(operation, StoreOperation::kBodyOpen) << "what was judged is remembered";
    return {};
  };
  const auto again = intake.receive(sent.offer).value();
  ASSERT_TRUE(again);
  EXPECT_EQ(again->held, 1u);
  const IntakeResult taken = send(sent);
  EXPECT_EQ(taken.refusal, Refusal::kNone);
  EXPECT_NEAR(taken.offer.facts.norm, 0.25 * std::sqrt(static_cast<double>(values().size())), 1e-6);
}

TEST_F(IntakeTest, AnotherObjectForTheSameAssignmentBeginsAnew) {
  Sent first(values()), second(std::vector<float>(values().size(), 0.5f));
  second.offer.object.key.fill(8);
  ASSERT_TRUE(open(first).sink->write(0, first.chunks[0]).ok());
  EXPECT_EQ(open(second).held, 0u);
}

// A crash after the sync and before the journal leaves a body that nobody was told of.
TEST_F(IntakeTest, ACompleteBodyOfAnEarlierLifeGivesWayToAnother) {
  const Sent first(values());
  EXPECT_EQ(send(first).refusal, Refusal::kNone);
  Sent second(std::vector<float>(values().size(), 0.5f));
  second.offer.object.key.fill(8);
  EXPECT_EQ(open(second).held, 0u);
}

TEST_F(IntakeTest, AStoredChunkThatIsDamagedIsAnUnsealableUpdate) {
  Sent sent(values());
  const std::vector<std::byte> noise(sent.chunks[0].size(), std::byte{3});
  ASSERT_TRUE(store.bodies.open(sent.offer.assignment, sent.offer.object).ok());
  ASSERT_TRUE(store.bodies.write(sent.offer.assignment, 0, noise).ok());
  ASSERT_FALSE(intake.receive(sent.offer).value());
  EXPECT_EQ(result().refusal, Refusal::kUnsealable);
  EXPECT_FALSE(wait_for([&] { return intake.resumed(); }).at(0).opening.ok());
}

TEST_F(IntakeTest, ReportsAStoreThatIsFullWithoutARefusal) {
  store.faults.before = [](StoreOperation operation) -> Status {
    if (operation == StoreOperation::kBodySync) return Error(ErrorCode::kExhausted, "disk full");
    return {};
  };
  const IntakeResult taken = send(Sent(values()));
  EXPECT_EQ(taken.refusal, Refusal::kNone);
  ASSERT_TRUE(taken.error);
  EXPECT_EQ(taken.error->code(), ErrorCode::kExhausted);
}

}  // namespace
}  // namespace shoal::coordinator
