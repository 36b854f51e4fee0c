#include "client/training/engine/engine_trainer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <thread>

#include "client/data/procedural.h"
#include "protocol/update_plan.h"

namespace shoal::client::training::engine {
namespace {

const data::Dataset& glyphs() {
  static const data::Dataset dataset = data::make_procedural({.seed = 5, .writers = 2, .examples = 60}).value();
  return dataset;
}

std::vector<std::uint32_t> first_rows(std::uint32_t count) {
  std::vector<std::uint32_t> rows(count);
  std::iota(rows.begin(), rows.end(), 0u);
  return rows;
}

double norm(const std::vector<float>& v) {
  double sum = 0;
  for (float x : v) sum += double{x} * x;
  return std::sqrt(sum);
}

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  std::vector<float> d(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) d[i] = a[i] - b[i];
  return norm(d);
}

// One model on the glyphs, and a starting point.
struct Bench {
  explicit Bench(std::string_view name)
      : description(make_description(name, {1, 28, 28}, 10).value()),
        trainer(make_engine_trainer(description).value()),
        base(trainer->layout().total()),
        delta(base.size()) {
    initialise(description, 3, base).value();
  }
  Result<TrainingOutcome> train(const std::vector<std::uint32_t>& rows, const protocol::TrainingSpec& spec,
                                std::uint32_t steps, const std::function<bool()>& between_steps = {}) {
    return trainer->train(base, glyphs(), rows, spec, steps, 11, delta, between_steps);
  }
  std::vector<float> trained() const {
    std::vector<float> model = base;
    for (std::size_t i = 0; i < model.size(); ++i) model[i] += delta[i];
    return model;
  }

  ModelDescription description;
  std::unique_ptr<Trainer> trainer;
  std::vector<float> base, delta;
};

struct Case {
  const char* model;
  double momentum = 0, weight_decay = 0, proximal = 0;
  double learning_rate = 0.05;
  std::uint32_t steps = 5;
  const char* plan = "full";
  double tolerance = 1e-4;  // of the delta's norm
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.model << " " << c.plan << " momentum " << c.momentum; }

class AgainstLibTorch : public testing::TestWithParam<Case> {};

TEST_P(AgainstLibTorch, makes_the_same_steps) {
  const Case& c = GetParam();
  Bench bench(c.model);
  const auto oracle = make_torch_trainer(bench.description);
  if (!oracle.ok()) GTEST_SKIP() << oracle.error().to_string();
  protocol::TrainingSpec spec;
  spec.learning_rate = c.learning_rate;
  spec.momentum = c.momentum;
  spec.weight_decay = c.weight_decay;
  spec.proximal = c.proximal;
  spec.plan = c.plan;
  const std::vector<std::uint32_t> rows = first_rows(25);  // batches of 10, 10, 5
  const TrainingOutcome ours = bench.train(rows, spec, c.steps).value();
  std::vector<float> want(bench.base.size());
  const TrainingOutcome theirs = (*oracle)->train(bench.base, glyphs(), rows, spec, c.steps, 11, want, {}).value();
  EXPECT_EQ(ours.steps, theirs.steps);
  EXPECT_NEAR(ours.loss, theirs.loss, 1e-5 * std::abs(theirs.loss));
  ASSERT_GT(norm(want), 1e-4);
  EXPECT_LT(distance(bench.delta, want), c.tolerance * norm(want));

  const std::vector<bool> trained = protocol::trained_by(spec.plan, bench.trainer->layout()).value();
  for (std::size_t t = 0; t < trained.size(); ++t) {
    if (trained[t]) continue;
    const std::uint64_t offset = bench.trainer->layout().offset(t), n = bench.trainer->layout().count(t);
    for (std::uint64_t i = offset; i < offset + n; ++i) ASSERT_TRUE(bench.delta[i] == 0 && want[i] == 0) << "frozen";
  }

  const auto facts = bench.trainer->evaluate(bench.trained(), glyphs(), first_rows(120)).value();
  const auto expected = (*oracle)->evaluate(bench.trained(), glyphs(), first_rows(120)).value();
  EXPECT_EQ(facts.samples, expected.samples);
  EXPECT_EQ(facts.correct, expected.correct);
  EXPECT_NEAR(facts.loss_sum, expected.loss_sum, 1e-5 * expected.loss_sum);
}
// In fifty layers of normalized values some lie so close to a kink of ReLU6 that rounding decides on which side; each
// changes the gradient by what one pixel is worth. Exact agreement is a matter of fewer layers (program_test.cpp).
INSTANTIATE_TEST_SUITE_P(Models, AgainstLibTorch,
                         testing::Values(Case{"logistic"}, Case{"2nn"}, Case{"2nn", 0.9, 1e-3, 0.5},
                                         Case{"2nn", 0, 0, 1.0}, Case{"cnn"}, Case{"cnn", 0.9, 1e-3},
                                         Case{"resnet8-gn"}, Case{"resnet20-gn", 0.9},
                                         Case{"mobilenetv2-0.35", 0, 0, 0, 1, 1, "full", 0.05},
                                         Case{"mobilenetv2-0.35-lite", 0, 0, 0, 1, 1, "full", 0.05},
                                         Case{"cnn", 0, 0, 0, 0.05, 5, "head"}, Case{"cnn", 0.9, 0, 0, 0.05, 5, "bias"},
                                         Case{"resnet8-gn", 0, 0, 0, 0.05, 5, "norm"},
                                         Case{"resnet20-gn", 0, 0, 0, 0.05, 5, "bias"},
                                         Case{"mobilenetv2-0.35-lite", 0, 0, 0, 1, 1, "lite", 0.05},
                                         Case{"mobilenetv2-0.35-lite", 0, 0, 0, 1, 1, "lite+bias", 0.05}));

class EveryModel : public testing::TestWithParam<const char*> {};

TEST_P(EveryModel, gives_the_same_bits_again_and_on_another_thread) {
  Bench first(GetParam());
  protocol::TrainingSpec spec;
  spec.learning_rate = 0.05;
  first.train(first_rows(25), spec, 4).value();
  const std::vector<float> once = first.delta;
  ASSERT_GT(norm(once), 0);
  first.train(first_rows(25), spec, 4).value();
  EXPECT_EQ(once, first.delta);

  Bench second(GetParam()), third(GetParam());
  std::thread a([&] { second.train(first_rows(25), spec, 4).value(); });
  std::thread b([&] { third.train(first_rows(25), spec, 4).value(); });
  a.join();
  b.join();
  EXPECT_EQ(once, second.delta);
  EXPECT_EQ(once, third.delta);
}

TEST_P(EveryModel, learns_to_tell_a_few_examples_apart) {
  Bench bench(GetParam());
  protocol::TrainingSpec spec;
  spec.learning_rate = 0.05;
  spec.momentum = 0.9;
  const std::vector<std::uint32_t> rows = first_rows(20);
  const auto before = bench.trainer->evaluate(bench.base, glyphs(), rows).value();
  bench.train(rows, spec, 150).value();
  const auto after = bench.trainer->evaluate(bench.trained(), glyphs(), rows).value();
  EXPECT_EQ(after.samples, 20u);
  EXPECT_LT(after.loss_sum, before.loss_sum / 3);
  EXPECT_GE(after.correct, 16u);
}
INSTANTIATE_TEST_SUITE_P(Catalogue, EveryModel, testing::Values("logistic", "2nn", "cnn", "resnet8-gn"));

// The same steps up to rounding, however they are cut up.
TEST(EngineTrainer, TrainsWithinItsBudgetOrNotAtAll) {
  const ModelDescription description = make_description("mobilenetv2-0.35-lite", {1, 28, 28}, 10).value();
  std::vector<float> base(layout_of(description).value().total()), free(base.size()), tight(base.size());
  initialise(description, 3, base).value();
  protocol::TrainingSpec spec;
  spec.plan = "lite+bias";
  spec.batch_size = 8;
  spec.learning_rate = 1e-3;
  const auto rows = first_rows(12);  // a batch of 8 and one of 4
  const auto train = [&](std::size_t budget, std::vector<float>& delta) {
    return make_engine_trainer(description, {.budget = budget})
        .value()
        ->train(base, glyphs(), rows, spec, 4, 11, delta, {});
  };
  const TrainingOutcome whole = train(0, free).value();
  const TrainingOutcome cut = train(9'000'000, tight).value();
  EXPECT_NEAR(cut.loss, whole.loss, 1e-3 * whole.loss);
  EXPECT_LT(distance(free, tight), 0.05 * norm(free));
  const auto refused = train(1'000'000, tight);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), ErrorCode::kExhausted);

  const auto evaluated =
      make_engine_trainer(description, {.budget = 9'000'000}).value()->evaluate(base, glyphs(), rows);
  EXPECT_NEAR(evaluated.value().loss_sum,
              make_engine_trainer(description).value()->evaluate(base, glyphs(), rows).value().loss_sum, 1e-2);
}

TEST(EngineTrainer, GivesUpWhenTold) {
  Bench bench("logistic");
  int calls = 0;
  const auto result = bench.train(first_rows(50), {}, 0, [&] { return ++calls < 3; });
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code(), ErrorCode::kTimeout);
  EXPECT_EQ(calls, 3);
}

TEST(EngineTrainer, RefusesWhatItCannotTrain) {
  Bench bench("logistic");
  const auto code = [&](const Result<TrainingOutcome>& r) { return r.ok() ? ErrorCode::kFailed : r.error().code(); };
  EXPECT_EQ(code(bench.train({}, {}, 0)), ErrorCode::kInvalid);
  EXPECT_EQ(code(bench.train({120}, {}, 0)), ErrorCode::kInvalid);
  protocol::TrainingSpec unknown;
  unknown.plan = "everything but the kitchen sink";
  EXPECT_EQ(code(bench.train(first_rows(5), unknown, 0)), ErrorCode::kInvalid);
}

TEST(EngineTrainer, SaysThatTrainingDiverged) {
  Bench bench("2nn");
  protocol::TrainingSpec spec;
  spec.learning_rate = 1e3;
  const auto result = bench.train(first_rows(50), spec, 200);
  ASSERT_FALSE(result.ok());
  EXPECT_NE(result.error().message().find("diverged"), std::string::npos);
}

}  // namespace
}  // namespace shoal::client::training::engine
