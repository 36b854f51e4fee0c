// What the trainers cost beside a plain LibTorch loop, and on transformers beside each other: all make the same steps
// in turn, in one run; prints medians and ratios.
//
//   trainer_bench [repetitions [model]]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <string_view>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "client/data/characters.h"
#include "client/data/procedural.h"
#include "client/training/engine/engine_trainer.h"
#include "client/training/trainer.h"
#include "protocol/update_layout.h"
#include "tests/client/training/plain_loop.h"

namespace shoal::client::training {
namespace {

template <class Work>
double milliseconds(Work work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}

double median(std::vector<double> times) {
  std::ranges::nth_element(times, times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2));
  return times[times.size() / 2];
}

// The work of one federated client: load the global model, one epoch in batches of 10, hand the result over.
int compare(const char* model, std::uint32_t examples, int repetitions) {
  const data::Dataset dataset = data::make_procedural({.seed = 1, .writers = 1, .examples = examples}).value();
  const ModelDescription description = make_description(model, dataset.shape, dataset.classes).value();
  Result<std::unique_ptr<Trainer>> trainer = make_torch_trainer(description);
  if (!trainer.ok()) {
    std::fprintf(stderr, "trainer_bench: %s\n", trainer.error().to_string().c_str());
    return 1;
  }
  const PlainData plain_data(dataset);
  torch::nn::Sequential network = plain_network(model);
  std::vector<float> base((*trainer)->layout().total()), delta(base.size());
  initialise(description, 1, base).value();
  std::vector<std::uint32_t> rows(dataset.rows());
  std::iota(rows.begin(), rows.end(), 0u);
  const protocol::TrainingSpec spec;
  const std::uint64_t steps = steps_wanted(rows.size(), spec, 0);

  const auto engine = engine::make_engine_trainer(description).value();
  std::vector<double> plain, ours, compiled;
  const auto run = [&](Trainer& with, std::uint64_t seed) {
    return milliseconds([&] { with.train(base, dataset, rows, spec, 0, seed, delta, {}).value(); });
  };
  run(*engine, 0);
  run(**trainer, 0);
  for (int i = 0; i < repetitions; ++i) {
    const auto seed = static_cast<std::uint64_t>(i);
    const auto run_plain = [&] {
      plain.push_back(milliseconds([&] {
        load(network, base);
        plain_train(network, plain_data, rows, spec, steps, seed);
        const std::vector<float> trained = flat_parameters(network);
        for (std::size_t j = 0; j < base.size(); ++j) delta[j] = trained[j] - base[j];
      }));
    };
    if (i % 2 == 0) run_plain();  // none always has the warmer cache
    ours.push_back(run(**trainer, seed));
    compiled.push_back(run(*engine, seed));
    if (i % 2 != 0) run_plain();
  }
  const double per_step = static_cast<double>(steps);
  std::printf(
      "%-12s plain LibTorch loop %8.4f ms a step; LibTorch trainer %8.4f, %.2f times; engine %8.4f, %.2f times, %.2f "
      "times as fast\n",
      model, median(plain) / per_step, median(ours) / per_step, median(ours) / median(plain),
      median(compiled) / per_step, median(compiled) / median(plain), median(plain) / median(compiled));
  return 0;
}

// Windows of random characters.
data::Dataset random_text(std::uint32_t examples) {
  data::Dataset text;
  text.shape = {80};
  text.classes = data::kCharacters;
  Stream draw(1, "text");
  for (std::uint32_t i = 0; i < examples + 80; ++i)
    text.tokens.push_back(static_cast<std::uint8_t>(draw.below(text.classes)));
  for (std::uint32_t i = 0; i < examples; ++i) {
    text.starts.push_back(i);
    text.labels.push_back(text.tokens[i + 80]);
  }
  return text;
}

// The engine beside the LibTorch trainer.
int compare_plan(const char* model, const char* plan, const data::Dataset& dataset, int repetitions) {
  const ModelDescription description = make_description(model, dataset.shape, dataset.classes).value();
  Result<std::unique_ptr<Trainer>> trainer = make_torch_trainer(description);
  if (!trainer.ok()) {
    std::fprintf(stderr, "trainer_bench: %s\n", trainer.error().to_string().c_str());
    return 1;
  }
  const auto engine = engine::make_engine_trainer(description).value();
  std::vector<float> base(engine->layout().total());
  std::vector<float> delta(protocol::update_layout(plan, engine->layout()).value().floats());
  initialise(description, 1, base).value();
  std::vector<std::uint32_t> rows(dataset.rows());
  std::iota(rows.begin(), rows.end(), 0u);
  protocol::TrainingSpec spec;
  spec.plan = plan;
  const double steps = static_cast<double>(steps_wanted(rows.size(), spec, 0));
  std::vector<double> theirs, compiled;
  for (int i = -1; i < repetitions; ++i)
    for (auto [with, times] : {std::pair(trainer->get(), &theirs), std::pair(engine.get(), &compiled)}) {
      const double time = milliseconds(
          [&] { with->train(base, dataset, rows, spec, 0, static_cast<std::uint64_t>(i + 1), delta, {}).value(); });
      if (i >= 0) times->push_back(time);  // the first one compiles
    }
  std::printf("%-24s %-8s LibTorch trainer %7.3f ms a step; engine %7.3f, %.2f times as fast\n", model, plan,
              median(theirs) / steps, median(compiled) / steps, median(theirs) / median(compiled));
  return 0;
}

int compare_transformers(int repetitions) {
  const data::Dataset images = data::make_procedural({.seed = 1, .writers = 1, .examples = 100}).value();
  const data::Dataset text = random_text(100);
  int failed = 0;
  for (const char* plan : {"full", "lora", "lora-b", "head"}) {
    failed |= compare_plan("vit-micro-lora8", plan, images, repetitions);
    failed |= compare_plan("char-transformer-lora8", plan, text, repetitions);
  }
  return failed | compare_plan("vit-micro", "full", images, repetitions) |
         compare_plan("char-transformer", "full", text, repetitions);
}

}  // namespace
}  // namespace shoal::client::training

int main(int argc, char** argv) {
  const int repetitions = argc > 1 ? std::max(1, std::atoi(argv[1])) : 21;
  const std::string_view wanted = argc > 2 ? argv[2] : "";
  int failed = 0;
  for (const auto& [model, examples] : {std::pair("logistic", 600u), std::pair("2nn", 600u), std::pair("cnn", 100u)})
    if (wanted.empty() || wanted == model) failed |= shoal::client::training::compare(model, examples, repetitions);
  if (wanted.empty() || wanted == "transformers") failed |= shoal::client::training::compare_transformers(repetitions);
  return failed;
}
