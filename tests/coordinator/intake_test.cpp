#include "coordinator/intake.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <future>
#include <limits>

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
  // Everything from the first missing chunk on, then the result.
  IntakeResult send(const Sent& sent) {
    const std::uint32_t held = store.bodies.open(sent.offer.assignment, sent.offer.object).value();
    auto sink = intake.receive(sent.offer, held);
    if (sink.ok()) {
      for (std::uint32_t c = held; c < sent.chunks.size(); ++c)
        if (!(*sink)->write(c, sent.chunks[c]).ok()) return result();
      (*sink)->complete();
    }
    return result();
  }
  IntakeResult result() {
    woken.get_future().wait();
    woken = {};
    auto results = intake.results();
    EXPECT_EQ(results.size(), 1u);
    return results.at(0);
  }

  static std::vector<float> values() { return std::vector<float>(protocol::kChunkBytes / 4 + 100, 0.25f); }

  MemoryStore store;
  std::promise<void> woken;
  Intake intake{store.bodies, [this] { woken.set_value(); }};
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
  const IntakeResult taken = send(sent);  // sends chunk 1 only
  EXPECT_EQ(taken.refusal, Refusal::kNone);
  EXPECT_NEAR(taken.offer.facts.norm, 0.25 * std::sqrt(static_cast<double>(values().size())), 1e-6);
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
