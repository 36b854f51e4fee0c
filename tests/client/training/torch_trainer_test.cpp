#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "client/data/dataset.h"
#include "tests/client/training/plain_loop.h"
#include "tests/client/training/trainer_bench.h"

namespace shoal::client::training {
namespace {

using namespace testing;

std::unique_ptr<Trainer> make(const ModelDescription& model) { return make_torch_trainer(model).value(); }

struct Case {
  const char* model;
  double momentum, weight_decay;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.model << " momentum " << c.momentum; }

class AgainstPlainLoop : public ::testing::TestWithParam<Case> {};

TEST_P(AgainstPlainLoop, makes_the_same_steps) {
  const Case& c = GetParam();
  Bench bench(make, c.model);
  const std::vector<std::uint32_t> rows = first_rows(25);  // batches of 10, 10, 5
  protocol::TrainingSpec spec;
  spec.momentum = c.momentum;
  spec.weight_decay = c.weight_decay;
  const TrainingOutcome outcome = bench.train(rows, spec, 7).value();

  torch::nn::Sequential network = plain_network(c.model);
  load(network, bench.base);
  const double loss = plain_train(network, PlainData(glyphs()), rows, spec, 7, 11);
  std::vector<float> trained = flat_parameters(network);
  for (std::size_t i = 0; i < trained.size(); ++i) trained[i] -= bench.base[i];

  EXPECT_EQ(outcome.steps, 7u);
  EXPECT_NEAR(outcome.loss, loss, 1e-5);
  ASSERT_GT(norm(trained), 1e-2);
  EXPECT_LT(distance(bench.delta, trained), 1e-4 * norm(trained));
}
INSTANTIATE_TEST_SUITE_P(Models, AgainstPlainLoop,
                         ::testing::Values(Case{"2nn", 0, 0}, Case{"2nn", 0.9, 1e-3}, Case{"cnn", 0, 0},
                                           Case{"cnn", 0.9, 1e-3}));

// Standardizing in the model is standardizing the data beforehand, as a loader's transform would.
TEST(TorchTrainer, standardizes_what_it_trains_and_evaluates_on) {
  ModelDescription description = make_description("2nn", {1, 28, 28}, 10).value();
  Bench plain(make, "2nn");
  description.standardize = {{0.1307f, 0.3081f}};
  const auto trainer = make_torch_trainer(description).value();

  data::Dataset transformed = glyphs();
  for (const std::uint8_t pixel : transformed.bytes)
    transformed.floats.push_back((static_cast<float>(pixel) * (1.0f / 255.0f) - 0.1307f) / 0.3081f);
  transformed.bytes.clear();

  const std::vector<std::uint32_t> rows = first_rows(25);
  std::vector<float> want(plain.base.size());
  plain.trainer->train(plain.base, transformed, rows, {}, 4, 11, want, {}).value();
  trainer->train(plain.base, glyphs(), rows, {}, 4, 11, plain.delta, {}).value();
  EXPECT_EQ(plain.delta, want);
  plain.train(rows, {}, 4).value();
  EXPECT_NE(plain.delta, want);

  const auto expected = plain.trainer->evaluate(plain.base, transformed, rows).value();
  EXPECT_EQ(trainer->evaluate(plain.base, glyphs(), rows).value().loss_sum, expected.loss_sum);
  EXPECT_NE(plain.trainer->evaluate(plain.base, glyphs(), rows).value().loss_sum, expected.loss_sum);
}

TEST(TorchTrainer, names_the_places_when_the_plugin_is_missing) {
  const auto result = make_torch_trainer(make_description("2nn", {1, 28, 28}, 10).value(), "/nonexistent");
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code(), ErrorCode::kUnavailable);
  EXPECT_NE(result.error().message().find("/nonexistent"), std::string::npos);
}

TEST(TorchTrainer, learns_real_digits_centrally) {
  const char* named = std::getenv("SHOAL_DATA");
  const std::string folder =
      (named != nullptr ? std::string(named) : std::string(SHOAL_SOURCE_DIR "/../shared/data")) + "/mnist";
  if (!std::filesystem::is_directory(folder))
    GTEST_SKIP() << "no MNIST in " << folder << "; set SHOAL_DATA to its parent";
  const data::Dataset train = data::read_dataset(folder, "train").value();
  const data::Dataset test = data::read_dataset(folder, "test").value();
  Bench bench(make, "2nn");
  protocol::TrainingSpec spec;
  spec.epochs = 5;
  bench.trainer->train(bench.base, train, first_rows(5000), spec, 0, 1, bench.delta, {}).value();
  for (std::size_t i = 0; i < bench.base.size(); ++i) bench.base[i] += bench.delta[i];
  const auto facts = bench.trainer->evaluate(bench.base, test, first_rows(10000)).value();
  EXPECT_GT(facts.correct, 9200u);
  EXPECT_LT(facts.correct, 9900u);
}

}  // namespace
}  // namespace shoal::client::training
