#include "client/training/engine/arena.h"

#include <gtest/gtest.h>

#include "base/rng.h"

namespace shoal::client::training::engine {
namespace {

const auto nothing = [](const Addresses&) -> Kernel { return [] {}; };

bool live_together(const Lifetime& a, const Lifetime& b) { return a.first <= b.last && b.first <= a.last; }

TEST(Arena, BuffersThatNeverLiveTogetherShareTheirPlace) {
  Tape tape;
  const BufferId a = tape.floats("a", 100), b = tape.floats("b", 100), c = tape.floats("c", 100);
  tape.add("1", {a, b}, nothing);
  tape.add("2", {b, c}, nothing);
  const ArenaPlan plan = plan_arena(tape);
  EXPECT_EQ(plan.bytes, 2 * 448u);
  EXPECT_EQ(plan.live_bytes, plan.bytes);
  EXPECT_EQ(plan.offsets[a], plan.offsets[c]);
  EXPECT_NE(plan.offsets[a], plan.offsets[b]);
}

TEST(Arena, KeptBuffersComeFirstAndAreNeverShared) {
  Tape tape;
  const BufferId a = tape.floats("a", 16), kept = tape.floats("kept", 16, Life::kKept),
                 idle = tape.floats("idle", 16, Life::kKept);
  const BufferId unused = tape.floats("unused", 1 << 20);
  tape.add("1", {a}, nothing);
  const ArenaPlan plan = plan_arena(tape);
  EXPECT_EQ(plan.offsets[kept], 0u);
  EXPECT_EQ(plan.offsets[idle], 64u);
  EXPECT_EQ(plan.offsets[a], plan.kept_bytes);
  EXPECT_EQ(plan.bytes, 3 * 64u);
  (void)unused;
}

TEST(Arena, InputsLiveFromTheBeginning) {
  Tape tape;
  const BufferId early = tape.floats("early", 16), input = tape.floats("input", 16, Life::kInput),
                 late = tape.floats("late", 16);
  tape.add("1", {early}, nothing);
  tape.add("2", {input}, nothing);
  tape.add("3", {late}, nothing);
  const ArenaPlan plan = plan_arena(tape);
  EXPECT_NE(plan.offsets[early], plan.offsets[input]);
  EXPECT_EQ(plan.bytes, 2 * 64u);
}

TEST(Arena, OnRandomTapesNothingOverlapsAndLittleIsWasted) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    Stream draw(seed, "tape");
    Tape tape;
    const std::size_t steps = 2 + draw.below(60);
    std::vector<std::vector<BufferId>> uses(steps);
    for (int i = 0; i < 80; ++i) {
      const BufferId buffer =
          tape.buffer("b", 1 + draw.below(100'000), draw.below(10) == 0 ? Life::kKept : Life::kTransient);
      const std::size_t first = draw.below(steps);
      uses[first].push_back(buffer);
      uses[std::min(steps - 1, first + draw.below(8))].push_back(buffer);
    }
    for (const auto& used : uses) tape.add("step", used, nothing);
    const ArenaPlan plan = plan_arena(tape);
    for (BufferId a = 0; a < tape.buffers().size(); ++a) {
      EXPECT_EQ(plan.offsets[a] % kBufferAlignment, 0u);
      EXPECT_LE(plan.offsets[a] + tape.buffers()[a].bytes, plan.bytes);
      for (BufferId b = 0; b < a; ++b) {
        const bool kept = tape.buffers()[a].life == Life::kKept || tape.buffers()[b].life == Life::kKept;
        if (!kept && !live_together(plan.lifetimes[a], plan.lifetimes[b])) continue;
        EXPECT_TRUE(plan.offsets[a] + tape.buffers()[a].bytes <= plan.offsets[b] ||
                    plan.offsets[b] + tape.buffers()[b].bytes <= plan.offsets[a])
            << "seed " << seed;
      }
    }
    EXPECT_GE(plan.bytes, plan.live_bytes);
    EXPECT_LE(static_cast<double>(plan.bytes), 1.15 * static_cast<double>(plan.live_bytes)) << "seed " << seed;
  }
}

TEST(Arena, TheSameTapeGivesTheSamePlan) {
  const auto make = [] {
    Tape tape;
    for (std::size_t i = 0; i < 40; ++i) tape.floats("b", 1 + i % 7);
    for (BufferId i = 0; i + 3 < 40; ++i) tape.add("s", {i, i + 3}, nothing);
    return plan_arena(tape).offsets;
  };
  EXPECT_EQ(make(), make());
}

}  // namespace
}  // namespace shoal::client::training::engine
