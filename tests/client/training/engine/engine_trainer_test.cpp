#include "client/training/engine/engine_trainer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <string_view>
#include <utility>

#include "base/rng.h"
#include "protocol/update_layout.h"
#include "tests/client/training/trainer_bench.h"

namespace shoal::client::training::engine {
namespace {

using namespace training::testing;

std::unique_ptr<Trainer> make(const ModelDescription& model) { return make_engine_trainer(model).value(); }

struct Case {
  const char* model;
  double momentum = 0, weight_decay = 0, proximal = 0;
  double learning_rate = 0.05;
  std::uint32_t steps = 5;
  const char* plan = "full";
  double tolerance = 1e-4;  // of the delta's norm
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.model << " " << c.plan << " momentum " << c.momentum; }

class AgainstLibTorch : public ::testing::TestWithParam<Case> {};

TEST_P(AgainstLibTorch, makes_the_same_steps) {
  const Case& c = GetParam();
  Bench bench(make, c.model);
  if (!training::testing::kHasTorch) GTEST_SKIP() << "the LibTorch trainer was not built";
  const auto oracle = make_torch_trainer(bench.description).value();
  protocol::TrainingSpec spec;
  spec.learning_rate = c.learning_rate;
  spec.momentum = c.momentum;
  spec.weight_decay = c.weight_decay;
  spec.proximal = c.proximal;
  spec.plan = c.plan;
  const std::vector<std::uint32_t> rows = first_rows(25);  // batches of 10, 10, 5
  const TrainingOutcome ours = bench.train(rows, spec, c.steps).value();
  std::vector<float> want(bench.delta.size());
  const TrainingOutcome theirs = oracle->train(bench.base, bench.data, rows, spec, c.steps, 11, want, {}).value();
  EXPECT_EQ(ours.steps, theirs.steps);
  EXPECT_NEAR(ours.loss, theirs.loss, 1e-5 * std::abs(theirs.loss));
  ASSERT_GT(norm(want), 1e-4);
  EXPECT_LT(distance(bench.delta, want), c.tolerance * norm(want));

  const auto facts = bench.trainer->evaluate(bench.trained(), bench.data, first_rows(120)).value();
  const auto expected = oracle->evaluate(bench.trained(), bench.data, first_rows(120)).value();
  EXPECT_EQ(facts.samples, expected.samples);
  EXPECT_EQ(facts.correct, expected.correct);
  EXPECT_NEAR(facts.loss_sum, expected.loss_sum, 1e-5 * expected.loss_sum);
}
// In fifty layers of normalized values some lie so close to a kink of ReLU6 that rounding decides on which side; each
// changes the gradient by what one pixel is worth. Exact agreement is a matter of fewer layers (program_test.cpp).
INSTANTIATE_TEST_SUITE_P(
    Models, AgainstLibTorch,
    ::testing::Values(Case{"logistic"}, Case{"2nn"}, Case{"2nn", 0.9, 1e-3, 0.5}, Case{"2nn", 0, 0, 1.0}, Case{"cnn"},
                      Case{"cnn", 0.9, 1e-3}, Case{"resnet8-gn"}, Case{"resnet20-gn", 0.9},
                      Case{"mobilenetv2-0.35", 0, 0, 0, 1, 1, "full", 0.05},
                      Case{"mobilenetv2-0.35-lite", 0, 0, 0, 1, 1, "full", 0.05}, Case{"cnn", 0, 0, 0, 0.05, 5, "head"},
                      Case{"cnn", 0.9, 0, 0, 0.05, 5, "bias"}, Case{"resnet8-gn", 0, 0, 0, 0.05, 5, "norm"},
                      Case{"resnet20-gn", 0, 0, 0, 0.05, 5, "bias"},
                      Case{"mobilenetv2-0.35-lite", 0, 0, 0, 1, 1, "lite", 0.05},
                      Case{"mobilenetv2-0.35-lite", 0, 0, 0, 1, 1, "lite+bias", 0.05}, Case{"vit-micro"},
                      Case{"vit-micro", 0.9, 1e-3}, Case{"vit-micro", 0, 0, 0, 0.05, 5, "bias"},
                      Case{"vit-micro-lora8", 0, 0, 0, 0.05, 5, "lora"},
                      Case{"vit-micro-adapter16", 0.9, 0, 0, 0.05, 5, "adapter"}, Case{"char-transformer"},
                      Case{"char-transformer", 0.9, 1e-3, 0.5}, Case{"char-transformer", 0, 0, 0, 0.05, 5, "norm"},
                      Case{"char-transformer", 0, 0, 0, 0.05, 5, "head"},
                      Case{"char-transformer-lora8", 0, 0, 0, 0.05, 5, "lora"},
                      Case{"char-transformer-lora8", 0, 0, 0, 0.05, 5, "lora-b"}));

// One step at a time, so that every loss is seen; the data are too few for it to become 0 by rounding.
std::vector<double> losses(Trainer& trainer, std::vector<float> model, const data::Dataset& data, int steps,
                           const protocol::TrainingSpec& spec) {
  std::vector<double> seen;
  std::vector<float> delta(model.size());
  for (int step = 0; step < steps; ++step) {
    const auto outcome =
        trainer.train(model, data, first_rows(40), spec, 1, static_cast<std::uint64_t>(step), delta, {});
    seen.push_back(outcome.value().loss);
    for (std::size_t i = 0; i < model.size(); ++i) model[i] += delta[i];
  }
  return seen;
}

class Follows : public ::testing::TestWithParam<std::pair<const char*, double>> {};

// Rates at which rounding is not amplified: mobilenetv2 with ten times its rate still learns, and is 2 % from
// LibTorch's losses after a hundred steps, since kinks of ReLU6 decide otherwise.
TEST_P(Follows, the_losses_of_LibTorch_for_a_hundred_steps) {
  if (!training::testing::kHasTorch) GTEST_SKIP() << "the LibTorch trainer was not built";
  const auto& [name, rate] = GetParam();
  const bool is_mobile = std::string_view(name).starts_with("mobilenet");
  data::Dataset images = glyphs();
  if (is_mobile) {  // 3 x 32 x 32
    images.shape = {3, 32, 32};
    images.bytes.resize(images.rows() * images.example_size());
    Stream draw(1, "images");
    for (std::size_t i = 0; i < images.bytes.size(); ++i)
      images.bytes[i] = static_cast<std::uint8_t>(draw.below(128) + 12 * images.labels[i / images.example_size()]);
  }
  const ModelDescription description = make_description(name, images.shape, 10).value();
  std::vector<float> base(layout_of(description).value().total());
  initialise(description, 3, base).value();
  protocol::TrainingSpec spec;
  spec.learning_rate = rate;
  const auto ours = make_engine_trainer(description).value();
  const auto theirs = make_torch_trainer(description).value();
  const std::vector<double> got = losses(*ours, base, images, 100, spec),
                            want = losses(*theirs, base, images, 100, spec);
  double worst = 0;
  for (std::size_t step = 0; step < want.size(); ++step) {
    EXPECT_NEAR(got[step], want[step], 1e-3 * want[step]) << "step " << step;
    worst = std::max(worst, std::abs(got[step] - want[step]) / want[step]);
  }
  EXPECT_LT(want.back(), want.front()) << "it learns";
  std::printf("%s: within %.2g of LibTorch's losses, %.3f to %.3f\n", name, worst, want.front(), want.back());
}
INSTANTIATE_TEST_SUITE_P(Models, Follows,
                         ::testing::Values(std::pair("logistic", 0.05), std::pair("2nn", 0.05), std::pair("cnn", 0.05),
                                           std::pair("resnet8-gn", 0.002),
                                           std::pair("mobilenetv2-0.35-lite", 0.00005)));

TEST(EngineTrainer, ObeysABudgetThatChangesBetweenRounds) {
  Bench bench(make, "cnn");
  protocol::TrainingSpec spec;
  const auto rows = first_rows(20);
  ASSERT_TRUE(bench.train(rows, spec, 2).ok());
  const std::vector<float> free = bench.delta;
  bench.trainer->set_budget(1'000'000);
  EXPECT_EQ(bench.train(rows, spec, 2).error().code(), ErrorCode::kExhausted);
  bench.trainer->set_budget(0);
  ASSERT_TRUE(bench.train(rows, spec, 2).ok());
  EXPECT_EQ(bench.delta, free);
}

// The same steps up to rounding, however they are cut up.
TEST(EngineTrainer, TrainsWithinItsBudgetOrNotAtAll) {
  const ModelDescription description = make_description("mobilenetv2-0.35-lite", {1, 28, 28}, 10).value();
  const TensorLayout layout = layout_of(description).value();
  protocol::TrainingSpec spec;
  spec.plan = "lite+bias";
  std::vector<float> base(layout.total()), free(protocol::update_layout(spec.plan, layout).value().floats());
  std::vector<float> tight(free.size());
  initialise(description, 3, base).value();
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

}  // namespace
}  // namespace shoal::client::training::engine
