// What every trainer that learns promises, whoever computes.
#include <gtest/gtest.h>

#include <thread>

#include "client/training/engine/engine_trainer.h"
#include "tests/client/training/trainer_bench.h"

namespace shoal::client::training {
namespace {

using namespace testing;

struct Learner {
  const char* name;
  MakeTrainer make;
};
void PrintTo(const Learner& learner, std::ostream* out) { *out << learner.name; }

const Learner kEngine{"engine", [](const ModelDescription& m) { return engine::make_engine_trainer(m).value(); }};
#ifdef SHOAL_TEST_TORCH
const Learner kTorch{"torch", [](const ModelDescription& m) { return make_torch_trainer(m).value(); }};
const auto kLearners = ::testing::Values(kEngine, kTorch);
#else
const auto kLearners = ::testing::Values(kEngine);
#endif

class EveryModel : public ::testing::TestWithParam<std::tuple<Learner, const char*>> {
 protected:
  Bench bench() const { return {std::get<0>(GetParam()).make, std::get<1>(GetParam())}; }
};

TEST_P(EveryModel, gives_the_same_bits_again_and_on_another_thread) {
  Bench first = bench();
  protocol::TrainingSpec spec;
  spec.learning_rate = 0.05;
  first.train(first_rows(25), spec, 4).value();
  const std::vector<float> once = first.delta;
  ASSERT_GT(norm(once), 0);
  first.train(first_rows(25), spec, 4).value();
  EXPECT_EQ(once, first.delta);

  Bench second = bench(), third = bench();
  std::thread a([&] { second.train(first_rows(25), spec, 4).value(); });
  std::thread b([&] { third.train(first_rows(25), spec, 4).value(); });
  a.join();
  b.join();
  EXPECT_EQ(once, second.delta);
  EXPECT_EQ(once, third.delta);
}

TEST_P(EveryModel, learns_to_tell_a_few_examples_apart) {
  Bench one = bench();
  protocol::TrainingSpec spec;
  spec.learning_rate = 0.05;
  spec.momentum = 0.9;
  if (one.description.name.starts_with("vit-")) {  // plain SGD gets vision transformers off the ground slowly
    spec.optimizer = protocol::LocalOptimizerKind::kAdam;
    spec.learning_rate = 2e-3;
  }
  const std::vector<std::uint32_t> rows = first_rows(20);
  const auto before = one.trainer->evaluate(one.base, one.data, rows).value();
  one.train(rows, spec, 150).value();
  std::vector<float> trained = one.base;
  for (std::size_t i = 0; i < trained.size(); ++i) trained[i] += one.delta[i];
  const auto after = one.trainer->evaluate(trained, one.data, rows).value();
  EXPECT_EQ(after.samples, 20u);
  EXPECT_LT(after.loss_sum, before.loss_sum / 3);
  EXPECT_GE(after.correct, 16u);
}
INSTANTIATE_TEST_SUITE_P(Learners, EveryModel,
                         ::testing::Combine(kLearners,
                                            ::testing::Values("logistic", "2nn", "cnn", "resnet8-gn", "vit-micro-lora2",
                                                              "char-transformer-adapter4")));

class EveryLearner : public ::testing::TestWithParam<Learner> {
 protected:
  Bench bench(std::string_view model, std::uint32_t classes = 10) const { return {GetParam().make, model, classes}; }
};

TEST_P(EveryLearner, stays_nearer_to_the_base_with_a_proximal_term) {
  Bench one = bench("2nn");
  protocol::TrainingSpec spec;
  one.train(first_rows(50), spec, 40).value();
  const double free = norm(one.delta);
  spec.proximal = 1.0;
  one.train(first_rows(50), spec, 40).value();
  EXPECT_LT(norm(one.delta), 0.8 * free);
  EXPECT_GT(norm(one.delta), 0.01 * free);
}

TEST_P(EveryLearner, one_proximal_step_from_the_base_is_a_plain_step) {
  Bench one = bench("logistic");
  protocol::TrainingSpec spec;
  one.train(first_rows(10), spec, 1).value();
  const std::vector<float> plain = one.delta;
  spec.proximal = 5;  // the pull towards the base is zero at the base
  one.train(first_rows(10), spec, 1).value();
  EXPECT_EQ(plain, one.delta);
}

TEST_P(EveryLearner, counts_epochs_in_short_batches_too) {
  Bench one = bench("logistic");
  protocol::TrainingSpec spec;
  spec.epochs = 3;
  EXPECT_EQ(one.train(first_rows(25), spec, 0).value().steps, 9u);
  EXPECT_EQ(one.train(first_rows(7), spec, 0).value().steps, 3u);
}

TEST_P(EveryLearner, evaluates_more_rows_than_a_batch_and_none) {
  Bench one = bench("2nn");
  const std::vector<std::uint32_t> all = first_rows(120);
  std::vector<std::uint32_t> twice = all;
  twice.insert(twice.end(), all.begin(), all.end());
  const auto once = one.trainer->evaluate(one.base, glyphs(), all).value();
  const auto double_sum = one.trainer->evaluate(one.base, glyphs(), twice).value();
  EXPECT_EQ(double_sum.samples, 240u);
  EXPECT_EQ(double_sum.correct, 2 * once.correct);
  EXPECT_NEAR(double_sum.loss_sum, 2 * once.loss_sum, 1e-3);
  EXPECT_EQ(one.trainer->evaluate(one.base, glyphs(), {}).value().samples, 0u);
}

TEST_P(EveryLearner, gives_up_when_told_to) {
  Bench one = bench("logistic");
  int calls = 0;
  const auto result = one.train(first_rows(50), {}, 0, [&] { return ++calls < 3; });
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code(), ErrorCode::kTimeout);
  EXPECT_EQ(calls, 3);
}

TEST_P(EveryLearner, refuses_what_it_cannot_train) {
  Bench one = bench("logistic");
  const auto code = [&](const Result<TrainingOutcome>& r) { return r.ok() ? ErrorCode::kFailed : r.error().code(); };
  EXPECT_EQ(code(one.train({}, {}, 0)), ErrorCode::kInvalid);
  EXPECT_EQ(code(one.train({120}, {}, 0)), ErrorCode::kInvalid);
  protocol::TrainingSpec unknown;
  unknown.plan = "everything but the kitchen sink";
  EXPECT_EQ(code(one.train(first_rows(5), unknown, 0)), ErrorCode::kInvalid);
  EXPECT_EQ(code(bench("logistic", 9).train(first_rows(5), {}, 0)), ErrorCode::kInvalid);

  data::Dataset flat = glyphs();
  flat.shape = {28, 28, 1};
  EXPECT_EQ(code(one.trainer->train(one.base, flat, first_rows(5), {}, 0, 1, one.delta, {})), ErrorCode::kInvalid);
}

TEST_P(EveryLearner, refuses_what_is_no_token_of_the_vocabulary) {
  Bench one = bench("char-transformer");
  const auto train = [&](const data::Dataset& data) {
    return one.trainer->train(one.base, data, first_rows(2), {}, 1, 1, one.delta, {});
  };
  data::Dataset ids;
  ids.shape = {kWindow};
  ids.classes = 2;
  ids.labels = {0, 1};
  ids.floats.assign(2 * kWindow, 96);
  EXPECT_TRUE(train(ids).ok());
  for (const float strange : {97.0f, -1.0f, 0.5f, 1e30f}) {
    ids.floats[kWindow + 3] = strange;
    const auto refused = train(ids);
    ASSERT_FALSE(refused.ok()) << strange;
    EXPECT_EQ(refused.error().code(), ErrorCode::kInvalid);
    EXPECT_NE(refused.error().message().find("row 1"), std::string::npos);
    EXPECT_FALSE(one.trainer->evaluate(one.base, ids, first_rows(2)).ok());
  }
  EXPECT_FALSE(train(glyphs()).ok()) << "pixels are no text";
}

TEST_P(EveryLearner, says_that_training_diverged) {
  Bench one = bench("2nn");
  protocol::TrainingSpec spec;
  spec.learning_rate = 1e3;
  const auto result = one.train(first_rows(50), spec, 200);
  ASSERT_FALSE(result.ok());
  EXPECT_NE(result.error().message().find("diverged"), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Learners, EveryLearner, kLearners);

}  // namespace
}  // namespace shoal::client::training
