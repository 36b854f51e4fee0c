// `shoal model pretrain`: trains a model in one place, so that a federation begins from a backbone that has seen
// something.
#include <algorithm>
#include <cmath>
#include <memory>
#include <numbers>
#include <numeric>
#include <string>
#include <vector>

#include "base/rng.h"
#include "cli/commands.h"
#include "cli/model_source.h"
#include "cli/progress_bar.h"
#include "client/data/dataset.h"
#include "client/training/batch_order.h"
#include "client/training/engine/engine_trainer.h"
#include "protocol/safetensors_file.h"

namespace shoal::cli {
namespace {

namespace data = client::data;
namespace training = client::training;

struct PretrainOptions {
  ModelSource source;
  std::vector<std::string> sets;
  std::uint32_t epochs = 2, batch = 32, fresh_classes = 0;
  double learning_rate = 0.05, momentum = 0.9;
  std::uint64_t seed = 1;
  std::string file;
};

Result<data::Dataset> read_all(const std::vector<std::string>& sources, const std::string& split) {
  data::Dataset all;
  for (const std::string& source : sources) {
    SHOAL_TRY_ASSIGN(data::Dataset set, data::read_dataset(source, split));
    if (all.rows() == 0) {
      all = std::move(set);
    } else if (Status added = data::append(all, set); !added.ok()) {
      return std::move(added).error().because_of_this("cannot train on " + source + " and " + sources.front() +
                                                      " together");
    }
  }
  return all;
}

std::vector<std::uint32_t> all_rows(const data::Dataset& set) {
  std::vector<std::uint32_t> rows(set.rows());
  std::iota(rows.begin(), rows.end(), 0u);
  return rows;
}

// The trained values with a classifier that is drawn for other classes.
Result<std::vector<float>> with_fresh_classifier(const training::ModelDescription& from, std::span<const float> values,
                                                 const training::ModelDescription& to, std::uint64_t seed) {
  SHOAL_TRY_ASSIGN(const TensorLayout old_layout, training::layout_of(from));
  SHOAL_TRY_ASSIGN(const TensorLayout layout, training::layout_of(to));
  std::vector<float> fresh(layout.total());
  SHOAL_TRY(training::initialise(to, seed, fresh));
  for (std::size_t t = 0; t < layout.tensors().size(); ++t)
    if (layout.tensors()[t].group != "head")
      std::copy_n(values.begin() + static_cast<std::ptrdiff_t>(old_layout.offset(t)), layout.count(t),
                  fresh.begin() + static_cast<std::ptrdiff_t>(layout.offset(t)));
  return fresh;
}

Status pretrain(const Context& context, const PretrainOptions& options) {
  SHOAL_TRY_ASSIGN(const data::Dataset train, read_all(options.sets, "train"));
  SHOAL_TRY_ASSIGN(const data::Dataset test, read_all(options.sets, "test"));
  const auto describe_for = [&](std::uint32_t classes) {
    return training::make_description(options.source.architecture, train.shape, classes, options.source.standardize);
  };
  SHOAL_TRY_ASSIGN(training::ModelDescription model, describe_for(train.classes));
  SHOAL_TRY_ASSIGN(const auto trainer, training::engine::make_engine_trainer(model));
  std::vector<float> values(trainer->layout().total()), delta(values.size());
  SHOAL_TRY(training::initialise(model, options.seed, values));

  ProgressBar bar(stderr, context.terminal);
  const std::vector<std::uint32_t> rows = all_rows(train), test_rows = all_rows(test);
  protocol::TrainingSpec spec{.batch_size = options.batch, .momentum = options.momentum};
  const std::uint64_t steps = training::steps_wanted(rows.size(), spec, 0);
  double accuracy = 0;
  for (std::uint32_t epoch = 0; epoch < options.epochs; ++epoch) {
    // A cosine from the full rate to none (Loshchilov and Hutter 2017).
    spec.learning_rate = options.learning_rate * 0.5 * (1 + std::cos(std::numbers::pi * epoch / options.epochs));
    std::uint64_t step = 0;
    const auto progress = [&] {
      if (++step % 50 == 0 && context.terminal.interactive)
        bar.show(static_cast<double>(epoch * steps + step), static_cast<double>(options.epochs * steps),
                 "epoch " + std::to_string(epoch + 1) + ", step " + std::to_string(step));
      return true;
    };
    SHOAL_TRY_ASSIGN(const auto outcome, trainer->train(values, train, rows, spec, 0,
                                                        derive_seed(options.seed, "epoch", epoch), delta, progress));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] += delta[i];
    SHOAL_TRY_ASSIGN(const auto facts, trainer->evaluate(values, test, test_rows));
    accuracy = static_cast<double>(facts.correct) / static_cast<double>(facts.samples);
    char line[96];
    std::snprintf(line, sizeof line, "epoch %u  training loss %.4f  test accuracy %.2f %%", epoch + 1, outcome.loss,
                  100 * accuracy);
    bar.show(epoch + 1, options.epochs, line);
  }
  bar.finish();
  if (options.fresh_classes > 0) {
    SHOAL_TRY_ASSIGN(const training::ModelDescription other, describe_for(options.fresh_classes));
    SHOAL_TRY_ASSIGN(values, with_fresh_classifier(model, values, other, options.seed));
    model = other;
  }
  SHOAL_TRY_ASSIGN(const TensorLayout layout, training::layout_of(model));
  SHOAL_TRY(
      protocol::write_model(options.file, layout, values,
                            {{std::string(training::kModelMetadataKey), training::to_text(model)}, {"format", "pt"}}));
  if (context.json) {
    print_json({{"file", options.file},
                {"architecture", options.source.architecture},
                {"parameters", layout.total()},
                {"test_accuracy", accuracy},
                {"classes", model.classes}});
  } else {
    print_text("wrote " + options.file +
               (options.fresh_classes > 0 ? ", with a fresh classifier for " + std::to_string(options.fresh_classes) +
                                                " classes: the `model` of an experiment or a job\n"
                                          : "\n"));
  }
  return {};
}

}  // namespace

void add_model_pretrain(CLI::App& group, Context& context) {
  auto options = std::make_shared<PretrainOptions>();
  CLI::App& command = add_command(
      group, context, "pretrain", "Train a model in one place, for a federation to begin from",
      "shoal model pretrain --arch mobilenetv2-0.25-lite --data data/mnist --fresh-classes 10 backbone.safetensors",
      [&context, options] { return pretrain(context, *options); });
  add_architecture(command, options->source);
  command.remove_option(command.get_option("--input"));
  command.remove_option(command.get_option("--classes"));
  command
      .add_option("--data", options->sets,
                  "Data set to train on, as `shoal data inspect` takes it; given again: one more, with classes of its "
                  "own")
      ->required();
  command.add_option("--epochs", options->epochs, "Times through the data")
      ->check(CLI::Range(1u, 10000u))
      ->capture_default_str();
  command.add_option("--batch", options->batch, "Examples in one step")
      ->check(CLI::Range(1u, 65536u))
      ->capture_default_str();
  command.add_option("--learning-rate", options->learning_rate, "Of SGD at the beginning; it falls as a cosine")
      ->check(CLI::Range(1e-9, 1e3))
      ->capture_default_str();
  command.add_option("--momentum", options->momentum, "Of SGD")->check(CLI::Range(0.0, 0.9999))->capture_default_str();
  command
      .add_option("--fresh-classes", options->fresh_classes,
                  "Draw a new classifier for so many classes at the end: those of the task to come")
      ->check(CLI::Range(2u, 1000000u));
  command.add_option("--seed", options->seed, "Seed of the initial values and of the batches")->capture_default_str();
  command.add_option("FILE", options->file, "The file to write")->required();
  add_json_flag(command, context);
}

}  // namespace shoal::cli
