// One experiment: a job, the data and model it trains, and the fleet that it runs on. Read from TOML; the job's seed is
// the seed of everything.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/options.h"
#include "base/result.h"
#include "base/units.h"
#include "client/data/partition.h"
#include "coordinator/job_spec.h"
#include "simulator/population.h"

namespace shoal::simulator {

enum class TrainingKind : std::uint8_t { kTorch, kEngine, kSynthetic, kNone };
inline EnumNames<TrainingKind> enum_names(TrainingKind) {
  static constexpr std::array<std::pair<TrainingKind, std::string_view>, 4> kNames{
      {{TrainingKind::kTorch, "torch"},
       {TrainingKind::kEngine, "engine"},
       {TrainingKind::kSynthetic, "synthetic"},
       {TrainingKind::kNone, "none"}}};
  return kNames;
}

struct DataOptions {
  std::string source;  // as client::data::read_dataset takes it; empty: none
  client::data::PartitionOptions partition;
  double test_fraction = 0;
  std::uint32_t window = 80, window_step = 1;  // of a text

  template <class Visitor>
  void visit(Visitor& v) {
    v("source", source, any,
      "Folder or file of the data set, or procedural:SEED:WRITERS:EXAMPLES; empty without real training");
    v("partition", partition, any, "How the training examples are dealt out to the devices");
    v("test_fraction", test_fraction, between(0.0, 0.9),
      "Share of a device's examples kept for evaluation on the device");
    v("window", window, between(1u, 65536u), "Text: characters of an example; the one that follows is its class");
    v("window_step", window_step, between(1u, 1000000u), "Text: characters from one example to the next");
  }
};

struct ExperimentOptions {
  TrainingKind training = TrainingKind::kTorch;
  std::string model = "2nn";
  std::string standardize;
  std::uint32_t workers = 0;         // threads that train; changes no result
  std::uint32_t evaluate_every = 1;  // rounds
  double target_accuracy = 0;        // 0: run all rounds
  std::uint32_t checkpoint_every = 10;
  Bytes update_size{4 << 20};  // of model and update with training = "none"
  coordinator::JobSpec job;
  DataOptions data;
  PopulationOptions population;

  template <class Visitor>
  void visit(Visitor& v) {
    v("training", training, any,
      "torch (LibTorch), engine (compiled, in one block of memory a worker), synthetic (a cheap stand-in with the same "
      "bits everywhere) or none (the system alone)");
    v("model", model, any,
      "Model of the catalogue: logistic, 2nn, cnn, resnet8-gn, resnet20-gn, mobilenetv2[-WIDTH][-lite] or "
      "proxyless-mobile[-lite]; or FILE.safetensors to go on from");
    v("standardize", standardize, any,
      "Mean and deviation that the inputs are standardized with, like 0.1307 0.3081; one pair, or one a channel; "
      "empty: as they are");
    v("workers", workers, between(0u, 256u), "Threads that train; 0 is one a processor. Changes no result");
    v("evaluate_every", evaluate_every, between(0u, 1000000u),
      "Rounds between evaluations on the central test set; 0 never");
    v("target_accuracy", target_accuracy, between(0.0, 1.0), "Test accuracy that ends the run; 0 runs all rounds");
    v("checkpoint_every", checkpoint_every, between(0u, 1000000u),
      "Rounds between checkpoints; 0 only when interrupted");
    v("update_size", update_size, any, "Size of model and update with training = none");
    v("job", job, any, "The federated job, as it would be submitted to a coordinator");
    v("data", data, any, "Data");
    v("population", population, any, "The fleet");
  }
};

// Contradictions between options that are each in range.
Status check(const ExperimentOptions& options);

}  // namespace shoal::simulator
