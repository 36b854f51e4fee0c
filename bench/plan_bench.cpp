// A training step of convolutional models: the engine's with all parameters and with a memory plan, beside LibTorch's
// with all of them. The trainers make the same steps in turn, in one run; prints medians and how many times as fast as
// LibTorch's full step.
//
//   plan_bench [repetitions [model]]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <string_view>
#include <vector>

#include "base/rng.h"
#include "client/training/engine/engine_trainer.h"
#include "client/training/trainer.h"

namespace shoal::client::training {
namespace {

struct Case {
  const char* model;
  std::uint32_t edge, classes, batch;  // of images with three channels
  std::vector<const char*> plans;      // of the engine
};

data::Dataset random_images(const Case& c) {
  data::Dataset dataset;
  dataset.shape = {3, c.edge, c.edge};
  dataset.classes = c.classes;
  dataset.bytes.resize(std::size_t{c.batch} * dataset.example_size());
  Stream draw(1, "images");
  for (std::uint8_t& pixel : dataset.bytes) pixel = static_cast<std::uint8_t>(draw.below(256));
  for (std::uint32_t i = 0; i < c.batch; ++i) dataset.labels.push_back(i % c.classes);
  return dataset;
}

double median(std::vector<double> times) {
  std::ranges::nth_element(times, times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2));
  return times[times.size() / 2];
}

// One trainer with one plan, and the times of its steps but for the first of a work, which loads the model.
struct Runner {
  Trainer& trainer;
  const char* plan;
  std::vector<double> times = {};

  void run(const Case& c, const data::Dataset& dataset, std::span<const float> base, std::span<float> delta) {
    std::vector<std::uint32_t> rows(c.batch);
    std::iota(rows.begin(), rows.end(), 0u);
    protocol::TrainingSpec spec;
    spec.batch_size = c.batch;
    spec.plan = plan;
    spec.learning_rate = 1e-4;
    using Clock = std::chrono::steady_clock;
    Clock::time_point last = Clock::now();
    std::vector<double> steps;
    const auto clock = [&] {
      const Clock::time_point now = Clock::now();
      steps.push_back(std::chrono::duration<double, std::milli>(now - last).count());
      last = now;
      return true;
    };
    trainer.train(base, dataset, rows, spec, 3, 1, delta, clock).value();
    times.insert(times.end(), steps.begin() + 1, steps.end());
  }
};

int compare(const Case& c, int repetitions) {
  const data::Dataset dataset = random_images(c);
  const ModelDescription description = make_description(c.model, dataset.shape, dataset.classes).value();
  const auto torch = make_torch_trainer(description);
  if (!torch.ok()) {
    std::fprintf(stderr, "plan_bench: %s\n", torch.error().to_string().c_str());
    return 1;
  }
  std::vector<float> base((*torch)->layout().total()), delta(base.size());
  initialise(description, 1, base).value();
  std::vector<std::unique_ptr<Trainer>> engines;
  std::vector<Runner> runners{{**torch, "full"}};
  for (const char* plan : c.plans) {
    engines.push_back(engine::make_engine_trainer(description).value());
    runners.push_back({*engines.back(), plan});
  }
  for (int i = 0; i < repetitions; ++i)
    for (Runner& runner : runners) runner.run(c, dataset, base, delta);
  const double stock = median(runners[0].times), best = std::ranges::min(runners[0].times);
  std::printf("%s %ux%u, batches of %u: LibTorch full %.2f ms a step", c.model, c.edge, c.edge, c.batch, stock);
  for (std::size_t i = 1; i < runners.size(); ++i)
    std::printf("; engine %s %.2f, %.2f times as fast (fastest steps: %.2f)", runners[i].plan, median(runners[i].times),
                stock / median(runners[i].times), best / std::ranges::min(runners[i].times));
  std::printf("\n");
  return 0;
}

}  // namespace
}  // namespace shoal::client::training

int main(int argc, char** argv) {
  using shoal::client::training::Case;
  const int repetitions = argc > 1 ? std::max(1, std::atoi(argv[1])) : 7;
  const std::string_view wanted = argc > 2 ? argv[2] : "";
  int failed = 0;
  for (const Case& c : {Case{"resnet8-gn", 32, 10, 10, {"full", "bias"}},
                        Case{"mobilenetv2-0.35-lite", 96, 10, 8, {"full", "lite+bias"}},
                        Case{"proxyless-mobile-lite", 224, 102, 8, {"full", "lite+bias"}}})
    if (wanted.empty() || wanted == c.model) failed |= shoal::client::training::compare(c, repetitions);
  return failed;
}
