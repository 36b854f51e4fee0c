#include "client/training/engine/time_table.h"

#include <gtest/gtest.h>

#include "client/training/engine/onednn.h"
#include "protocol/update_plan.h"

namespace shoal::client::training::engine {
namespace {

// Every reading is a millisecond after the one before, so every instruction takes one.
class Metronome final : public Clock {
 public:
  Time now() const override { return Time(std::chrono::milliseconds(++ticks_)); }

 private:
  mutable int ticks_ = 0;
};

class TimeTableTest : public ::testing::Test {
 protected:
  TimeTableTest() {
    use_one_thread();
    initialise(description_, 1, values_).value();
  }
  Fitted fitted(const char* plan, std::uint32_t examples, std::uint32_t batch = 8) {
    ProgramOptions options{.examples = examples, .accumulate = examples < batch};
    auto program =
        Program::compile(graph_, protocol::trained_by(plan, layout_of(description_).value()).value(), options).value();
    return {{options}, std::move(program)};
  }

  const ModelDescription description_ = make_description("resnet8-gn", {1, 28, 28}, 10).value();
  const Graph graph_ = graph_of(description_).value();
  std::vector<float> values_ = std::vector<float>(layout_of(description_).value().total());
  const Metronome clock_;
  TimeTable table_{clock_};
};

TEST_F(TimeTableTest, AStepIsItsPassesAndItsEnd) {
  Fitted whole = fitted("full", 8), halves = fitted("full", 4);
  const auto instructions = [](const Fitted& f) { return f.program->tape().instructions().size(); };
  EXPECT_NEAR(table_.step_seconds(whole, values_, 8).value(), 1e-3 * static_cast<double>(instructions(whole)), 1e-9);
  const double pass = static_cast<double>(halves.program->pass_end());
  EXPECT_NEAR(table_.step_seconds(halves, values_, 8).value(),
              1e-3 * (2 * pass + static_cast<double>(instructions(halves)) - pass), 1e-9);
}

TEST_F(TimeTableTest, WhatIsKnownIsNotRunAgain) {
  Fitted full = fitted("full", 8), head = fitted("head", 8), again = fitted("full", 8);
  ASSERT_TRUE(table_.step_seconds(full, values_, 8).ok());
  EXPECT_EQ(table_.programs_run(), 1u);
  const double seconds = table_.step_seconds(again, values_, 8).value();
  EXPECT_EQ(table_.programs_run(), 1u) << "all of it is known";
  EXPECT_EQ(seconds, table_.step_seconds(full, values_, 8).value());
  ASSERT_TRUE(table_.step_seconds(head, values_, 8).ok());
  EXPECT_LE(table_.programs_run(), 2u);
}

}  // namespace
}  // namespace shoal::client::training::engine
