#include "client/training/engine/engine_trainer.h"

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "client/training/batch_order.h"
#include "client/training/engine/fit.h"
#include "client/training/engine/onednn.h"
#include "client/training/engine/program.h"
#include "client/training/trainer_checks.h"
#include "protocol/update_layout.h"
#include "protocol/update_plan.h"

namespace shoal::client::training::engine {
namespace {

constexpr std::uint32_t kEvaluationBatch = 64;

class EngineTrainer final : public Trainer {
 public:
  EngineTrainer(ModelDescription description, Graph graph, TensorLayout layout, const EngineOptions& options)
      : description_(std::move(description)), graph_(std::move(graph)), layout_(std::move(layout)), options_(options) {
    const Shape& input = graph_.shape(0);
    if (input.size() == 3 && input[0] > 1) staged_.resize(graph_.count(0));
  }

  const TensorLayout& layout() const override { return layout_; }

  void set_budget(std::uint64_t bytes) override { options_.budget = bytes; }

  Result<TrainingOutcome> train(std::span<const float> base, const data::Dataset& data,
                                std::span<const std::uint32_t> rows, const protocol::TrainingSpec& spec,
                                std::uint32_t steps, std::uint64_t seed, std::span<float> delta,
                                const std::function<bool()>& before_step) override {
    SHOAL_CHECK(base.size() == layout_.total(), "model of another length");
    SHOAL_TRY(check_work(rows, spec));
    SHOAL_TRY(check_data(description_, data, rows));
    use_one_thread();
    SHOAL_TRY_ASSIGN(const Compiled* const compiled, training_program(spec, rows.size()));
    SHOAL_CHECK(delta.size() == protocol::UpdateLayout(compiled->trained, layout_).floats(),
                "update of another length");
    Program& program = *compiled->program;
    SHOAL_TRY(program.load(base));
    BatchOrder order(rows, spec.batch_size, seed);
    SHOAL_TRY_ASSIGN(const TrainingOutcome outcome,
                     take_steps(
                         steps_wanted(rows.size(), spec, steps),
                         [&](std::uint64_t) { return step(*compiled, data, order.next()); }, before_step));
    if (options_.programs == 1) program.rest();  // before the delta takes memory
    std::size_t at = 0;
    for (ParameterId p = 0; p < graph_.parameters.size(); ++p) {
      if (!compiled->trained[p]) continue;
      const std::span<const float> trained = program.parameter(p);
      const std::uint64_t offset = layout_.offset(p);
      for (std::size_t i = 0; i < trained.size(); ++i) delta[at++] = trained[i] - base[offset + i];
    }
    return outcome;
  }

  Result<protocol::EvaluationFacts> evaluate(std::span<const float> model, const data::Dataset& data,
                                             std::span<const std::uint32_t> rows) override {
    SHOAL_CHECK(model.size() == layout_.total(), "model of another length");
    SHOAL_TRY(check_data(description_, data, rows));
    protocol::EvaluationFacts facts{.samples = rows.size()};
    if (rows.empty()) return facts;
    use_one_thread();
    SHOAL_TRY_ASSIGN(const Compiled* const compiled, evaluation_program());
    Program& program = *compiled->program;
    const std::size_t at_once = compiled->way.options.examples;
    SHOAL_TRY(program.load(model));
    for (std::size_t at = 0; at < rows.size(); at += at_once) {
      const auto batch = rows.subspan(at, std::min(at_once, rows.size() - at));
      fill(program, data, batch);
      const kernels::Scores scores = program.pass(batch.size(), 0);
      facts.loss_sum += scores.loss;
      facts.correct += scores.correct;
    }
    return facts;
  }

 private:
  // A program and what it was compiled for.
  struct Compiled {
    bool train = true;
    protocol::TrainingSpec spec = {};
    std::uint32_t batch = 0;
    std::size_t budget = 0;
    std::vector<bool> trained = {};
    Way way = {};
    std::unique_ptr<Program> program = {};
  };

  Result<const Compiled*> training_program(const protocol::TrainingSpec& spec, std::size_t rows) {
    const auto batch = static_cast<std::uint32_t>(std::min<std::size_t>(spec.batch_size, rows));
    SHOAL_TRY_ASSIGN(std::vector<bool> trained, protocol::trained_by(spec.plan, layout_));
    return program_for({.spec = spec, .batch = batch, .trained = std::move(trained)},
                       {.norm_gradient = options_.norm_gradient, .spec = spec});
  }

  Result<const Compiled*> evaluation_program() {
    return program_for(
        {.train = false, .batch = kEvaluationBatch, .trained = std::vector<bool>(graph_.parameters.size())},
        {.train = false});
  }

  // The one that was compiled for the same before, or a new one in place of the one that waited longest.
  Result<const Compiled*> program_for(Compiled wanted, const ProgramOptions& options) {
    wanted.budget = options_.budget;
    const auto known = std::ranges::find_if(programs_, [&](const Compiled& c) {
      return c.train == wanted.train && c.spec == wanted.spec && c.batch == wanted.batch && c.budget == wanted.budget;
    });
    if (known != programs_.end()) {
      std::rotate(programs_.begin(), known, known + 1);
      return &programs_.front();
    }
    if (programs_.size() >= options_.programs) programs_.pop_back();
    SHOAL_TRY_ASSIGN(Fitted fitted, fit(graph_, wanted.trained, options, wanted.batch, wanted.budget));
    wanted.program = std::move(fitted.program);
    wanted.way = std::move(fitted.way);
    return &*programs_.insert(programs_.begin(), std::move(wanted));
  }

  // One step, in as many passes as the program needs; the mean loss.
  double step(const Compiled& compiled, const data::Dataset& data, std::span<const std::uint32_t> rows) {
    Program& program = *compiled.program;
    const std::size_t at_once = compiled.way.options.examples;
    const auto examples = static_cast<float>(rows.size());
    double loss = 0;
    for (std::size_t first = 0; first < rows.size(); first += at_once) {
      const auto part = rows.subspan(first, std::min(at_once, rows.size() - first));
      fill(program, data, part);
      loss += program.pass(part.size(), 1 / examples).loss;
    }
    program.finish();
    return loss / examples;
  }

  void fill(Program& program, const data::Dataset& data, std::span<const std::uint32_t> rows) {
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const std::span<float> place = program.example(i);
      if (staged_.empty()) {
        data.example(rows[i], place);
        standardize(description_, place);
      } else {  // channels first in the data, last in the engine
        data.example(rows[i], staged_);
        standardize(description_, staged_);
        const std::size_t channels = graph_.shape(0)[0];
        kernels::transpose(staged_.data(), 1, channels, staged_.size() / channels, place.data());
      }
      program.labels()[i] = data.labels[rows[i]];
    }
  }

  ModelDescription description_;
  Graph graph_;
  TensorLayout layout_;
  EngineOptions options_;
  std::vector<Compiled> programs_;  // the last one used is first
  std::vector<float> staged_;
};

}  // namespace

Result<std::unique_ptr<Trainer>> make_engine_trainer(const ModelDescription& model, const EngineOptions& options) {
  SHOAL_TRY_ASSIGN(Graph graph, graph_of(model));
  SHOAL_TRY_ASSIGN(TensorLayout layout, layout_of(model));
  return std::unique_ptr<Trainer>(std::make_unique<EngineTrainer>(model, std::move(graph), std::move(layout), options));
}

}  // namespace shoal::client::training::engine
