// What the simulator costs beyond a plain LibTorch loop over the same clients, and what a second worker gains; and how
// many coordinator events it handles a second without learning. A third loop, plain but with Shoal's trainer, tells the
// simulator's overhead from the trainer's advantage.
//
//   simulator_bench [repetitions]     the 2NN, 20 clients of 600 examples, 10 a round; interleaved runs, medians
#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "base/rng.h"
#include "simulator/engine.h"
#include "simulator/world.h"
#include "tests/client/training/plain_loop.h"

namespace shoal::simulator {
namespace {

class Silent final : public Observer {
 public:
  Status on_round(const RoundRecord&) override { return {}; }
  void on_opened(Time, const coordinator::action::RoundOpened&) override {}
  void on_abandoned(Time, const coordinator::action::RoundClosed&) override {}
};

template <class Work>
double seconds(Work work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

double median(std::vector<double> times) {
  std::ranges::nth_element(times, times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2));
  return times[times.size() / 2];
}

ExperimentOptions experiment() {
  ExperimentOptions options;
  options.evaluate_every = 0;
  options.job.rounds = 5;
  options.job.fedavg.cohort = 10;
  options.data.source = "procedural:1:20:600";
  options.data.partition.kind = client::data::PartitionKind::kNatural;
  options.population.devices = 20;
  options.population.step_seconds = {DistributionKind::kLognormal, 0.02, 0.5};
  return options;
}

// The world stands; what is measured are the rounds, as in the plain loop.
double simulate(ExperimentOptions options, unsigned workers) {
  options.workers = workers;
  World world = make_world(options, "").value();
  Silent silent;
  Engine engine({options.job, options.evaluate_every}, *world.population, *world.learning, silent);
  return seconds([&] {
    engine.begin().value();
    while (!engine.ended()) engine.turn().value();
  });
}

// Federated averaging in a loop; `train` turns the model into the one that a client trained.
template <class Train>
double plain_rounds(const ExperimentOptions& options, const LearningTask& task, Train train) {
  std::vector<float> model = task.initial, trained(model.size());
  return seconds([&] {
    for (std::uint64_t round = 1; round <= options.job.rounds; ++round) {
      std::vector<double> mean(model.size());
      double samples = 0;
      for (std::uint64_t index :
           Stream(options.job.seed, "cohort", round).sample(task.devices.size(), options.job.fedavg.cohort)) {
        const auto& rows = task.devices[index].train;
        const auto weight = static_cast<double>(rows.size());
        train(model, rows, derive_seed(options.job.seed, "train", index + 1, round - 1), trained);
        for (std::size_t i = 0; i < model.size(); ++i) mean[i] += weight * trained[i];
        samples += weight;
      }
      for (std::size_t i = 0; i < model.size(); ++i) model[i] = static_cast<float>(mean[i] / samples);
    }
  });
}

using Rows = std::vector<std::uint32_t>;

double plain(const ExperimentOptions& options, const LearningTask& task, const client::training::PlainData& data) {
  using namespace client::training;
  torch::nn::Sequential network = plain_network("2nn");
  return plain_rounds(
      options, task,
      [&](const std::vector<float>& model, const Rows& rows, std::uint64_t seed, std::vector<float>& trained) {
        load(network, model);
        plain_train(network, data, rows, options.job.training, steps_wanted(rows.size(), options.job.training, 0),
                    seed);
        trained = flat_parameters(network);
      });
}

double plain_with_trainer(const ExperimentOptions& options, const LearningTask& task,
                          client::training::Trainer& trainer) {
  return plain_rounds(
      options, task,
      [&](const std::vector<float>& model, const Rows& rows, std::uint64_t seed, std::vector<float>& trained) {
        trainer.train(model, task.train, rows, options.job.training, 0, seed, trained, {}).value();
        for (std::size_t i = 0; i < model.size(); ++i) trained[i] += model[i];
      });
}

void learning(int repetitions) {
  // The plain loop and the simulator run in one process and keep what they free, so that neither pays for fresh pages.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  const ExperimentOptions options = experiment();
  const LearningTask task = make_task(options).value();
  const client::training::PlainData data(task.train);
  at::set_num_threads(1);  // as every worker does: at these batch sizes no library gains from a second thread
  const auto trainer =
      client::training::make_torch_trainer(
          client::training::parse_description(task.metadata.at(std::string(client::training::kModelMetadataKey)))
              .value())
          .value();
  std::vector<double> loop, bare, one, two;
  for (int i = 0; i < repetitions; ++i) {
    if (i % 2 == 0) loop.push_back(plain(options, task, data));  // neither always has the warmer cache
    one.push_back(simulate(options, 1));
    bare.push_back(plain_with_trainer(options, task, *trainer));
    if (i % 2 != 0) loop.push_back(plain(options, task, data));
    two.push_back(simulate(options, 2));
  }
  const double clients = static_cast<double>(options.job.rounds * options.job.fedavg.cohort);
  std::printf("plain LibTorch loop   %7.2f ms a client\n", 1e3 * median(loop) / clients);
  std::printf("plain loop, trainer   %7.2f ms a client, %.3f times the plain LibTorch loop\n",
              1e3 * median(bare) / clients, median(bare) / median(loop));
  std::printf(
      "simulator, 1 worker   %7.2f ms a client, %.3f times the plain LibTorch loop, %.3f times the one with the "
      "trainer\n",
      1e3 * median(one) / clients, median(one) / median(loop), median(one) / median(bare));
  std::printf("simulator, 2 workers  %7.2f ms a client, %.2f times faster than 1\n", 1e3 * median(two) / clients,
              median(one) / median(two));
}

void no_learning(std::uint32_t devices, std::uint64_t rounds) {
  ExperimentOptions options;
  options.training = TrainingKind::kNone;
  options.population.devices = devices;
  options.job.rounds = rounds;
  options.job.fedavg.cohort = 1000;
  World world = make_world(options, "").value();
  Silent silent;
  Engine engine({options.job, 0}, *world.population, *world.learning, silent);
  engine.begin().value();
  const std::uint64_t before = engine.events();
  const double time = seconds([&] {
    while (!engine.ended()) engine.turn().value();
  });
  std::printf("no learning           %7u devices, %.0f events/s\n", devices,
              static_cast<double>(engine.events() - before) / time);
}

}  // namespace
}  // namespace shoal::simulator

int main(int argc, char** argv) {
  const int repetitions = argc > 1 ? std::max(1, std::atoi(argv[1])) : 7;
  shoal::simulator::no_learning(10'000, 200);
  shoal::simulator::no_learning(1'000'000, 20);
  shoal::simulator::learning(repetitions);
}
