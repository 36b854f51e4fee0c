#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <numeric>
#include <thread>

#include "client/data/dataset.h"
#include "client/data/procedural.h"
#include "client/training/trainer.h"
#include "tests/client/training/plain_loop.h"

namespace shoal::client::training {
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

// One model on the glyphs, its trainer and a starting point.
struct Bench {
  explicit Bench(std::string_view name, std::uint32_t classes = 10)
      : description(make_description(name, {1, 28, 28}, classes).value()),
        trainer(make_torch_trainer(description).value()),
        base(trainer->layout().total()),
        delta(base.size()) {
    initialise(description, 3, base).value();
  }
  Result<TrainingOutcome> train(const std::vector<std::uint32_t>& rows, const protocol::TrainingSpec& spec,
                                std::uint32_t steps, const std::function<bool()>& between_steps = {}) {
    return trainer->train(base, glyphs(), rows, spec, steps, 11, delta, between_steps);
  }

  ModelDescription description;
  std::unique_ptr<Trainer> trainer;
  std::vector<float> base, delta;
};

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

struct Case {
  const char* model;
  double momentum, weight_decay;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.model << " momentum " << c.momentum; }

class AgainstPlainLoop : public testing::TestWithParam<Case> {};

TEST_P(AgainstPlainLoop, makes_the_same_steps) {
  const Case& c = GetParam();
  Bench bench(c.model);
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
                         testing::Values(Case{"2nn", 0, 0}, Case{"2nn", 0.9, 1e-3}, Case{"cnn", 0, 0},
                                         Case{"cnn", 0.9, 1e-3}));

// Standardizing in the model is standardizing the data beforehand, as a loader's transform would.
TEST(TorchTrainer, standardizes_what_it_trains_and_evaluates_on) {
  ModelDescription description = make_description("2nn", {1, 28, 28}, 10).value();
  Bench plain("2nn");
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
  std::vector<float> trained = bench.base;
  for (std::size_t i = 0; i < trained.size(); ++i) trained[i] += bench.delta[i];
  const auto after = bench.trainer->evaluate(trained, glyphs(), rows).value();
  EXPECT_EQ(after.samples, 20u);
  EXPECT_LT(after.loss_sum, before.loss_sum / 3);
  EXPECT_GE(after.correct, 16u);
}
INSTANTIATE_TEST_SUITE_P(Catalogue, EveryModel, testing::Values("logistic", "2nn", "cnn", "resnet8-gn"));

TEST(TorchTrainer, stays_nearer_to_the_base_with_a_proximal_term) {
  Bench bench("2nn");
  protocol::TrainingSpec spec;
  bench.train(first_rows(50), spec, 40).value();
  const double free = norm(bench.delta);
  spec.proximal = 1.0;
  bench.train(first_rows(50), spec, 40).value();
  EXPECT_LT(norm(bench.delta), 0.8 * free);
  EXPECT_GT(norm(bench.delta), 0.01 * free);
}

TEST(TorchTrainer, one_proximal_step_from_the_base_is_a_plain_step) {
  Bench bench("logistic");
  protocol::TrainingSpec spec;
  bench.train(first_rows(10), spec, 1).value();
  const std::vector<float> plain = bench.delta;
  spec.proximal = 5;  // the pull towards the base is zero at the base
  bench.train(first_rows(10), spec, 1).value();
  EXPECT_EQ(plain, bench.delta);
}

TEST(TorchTrainer, counts_epochs_in_short_batches_too) {
  Bench bench("logistic");
  protocol::TrainingSpec spec;
  spec.epochs = 3;
  EXPECT_EQ(bench.train(first_rows(25), spec, 0).value().steps, 9u);
  EXPECT_EQ(bench.train(first_rows(7), spec, 0).value().steps, 3u);
}

TEST(TorchTrainer, evaluates_more_rows_than_a_batch_and_none) {
  Bench bench("2nn");
  const std::vector<std::uint32_t> all = first_rows(120);
  std::vector<std::uint32_t> twice = all;
  twice.insert(twice.end(), all.begin(), all.end());
  const auto once = bench.trainer->evaluate(bench.base, glyphs(), all).value();
  const auto double_sum = bench.trainer->evaluate(bench.base, glyphs(), twice).value();
  EXPECT_EQ(double_sum.samples, 240u);
  EXPECT_EQ(double_sum.correct, 2 * once.correct);
  EXPECT_NEAR(double_sum.loss_sum, 2 * once.loss_sum, 1e-3);
  EXPECT_EQ(bench.trainer->evaluate(bench.base, glyphs(), {}).value().samples, 0u);
}

TEST(TorchTrainer, gives_up_when_told_to) {
  Bench bench("logistic");
  int calls = 0;
  const auto result = bench.train(first_rows(50), {}, 0, [&] { return ++calls < 3; });
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code(), ErrorCode::kTimeout);
  EXPECT_EQ(calls, 3);
}

TEST(TorchTrainer, refuses_what_it_cannot_train) {
  Bench bench("logistic");
  const auto code = [&](const Result<TrainingOutcome>& r) { return r.ok() ? ErrorCode::kFailed : r.error().code(); };
  EXPECT_EQ(code(bench.train({}, {}, 0)), ErrorCode::kInvalid);
  EXPECT_EQ(code(bench.train({120}, {}, 0)), ErrorCode::kInvalid);
  protocol::TrainingSpec unknown;
  unknown.plan = "everything but the kitchen sink";
  EXPECT_EQ(code(bench.train(first_rows(5), unknown, 0)), ErrorCode::kInvalid);
  EXPECT_EQ(code(Bench("logistic", 9).train(first_rows(5), {}, 0)), ErrorCode::kInvalid);

  data::Dataset flat = glyphs();
  flat.shape = {28, 28, 1};
  EXPECT_EQ(code(bench.trainer->train(bench.base, flat, first_rows(5), {}, 0, 1, bench.delta, {})),
            ErrorCode::kInvalid);
}

TEST(TorchTrainer, says_that_training_diverged) {
  Bench bench("2nn");
  protocol::TrainingSpec spec;
  spec.learning_rate = 1e3;
  const auto result = bench.train(first_rows(50), spec, 200);
  ASSERT_FALSE(result.ok());
  EXPECT_NE(result.error().message().find("diverged"), std::string::npos);
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
  Bench bench("2nn");
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
