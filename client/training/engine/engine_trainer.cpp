#include "client/training/engine/engine_trainer.h"

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "client/training/batch_order.h"
#include "client/training/engine/fit.h"
#include "client/training/engine/onednn.h"
#include "client/training/engine/program.h"
#include "client/training/trainer_checks.h"
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

  Result<TrainingOutcome> train(std::span<const float> base, const data::Dataset& data,
                                std::span<const std::uint32_t> rows, const protocol::TrainingSpec& spec,
                                std::uint32_t steps, std::uint64_t seed, std::span<float> delta,
                                const std::function<bool()>& between_steps) override {
    SHOAL_CHECK(base.size() == layout_.total() && delta.size() == layout_.total(), "model of another length");
    SHOAL_TRY(check_work(rows, spec));
    SHOAL_TRY(check_data(description_, data, rows));
    use_one_thread();
    SHOAL_TRY(take_training_program(spec, rows.size()));
    Program& program = *training_;
    SHOAL_TRY(program.load(base));
    BatchOrder order(rows, spec.batch_size, seed);
    SHOAL_TRY_ASSIGN(const TrainingOutcome outcome,
                     take_steps(
                         steps_wanted(rows.size(), spec, steps),
                         [&](std::uint64_t) { return step(program, data, order.next()); }, between_steps));
    std::ranges::fill(delta, 0.0f);
    for (ParameterId p = 0; p < graph_.parameters.size(); ++p) {
      if (!trained_[p]) continue;
      const std::span<const float> trained = program.parameter(p);
      const std::uint64_t offset = layout_.offset(p);
      for (std::size_t i = 0; i < trained.size(); ++i) delta[offset + i] = trained[i] - base[offset + i];
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
    SHOAL_TRY(take_evaluation_program());
    SHOAL_TRY(evaluation_->load(model));
    for (std::size_t at = 0; at < rows.size(); at += evaluated_at_once_) {
      const auto batch = rows.subspan(at, std::min(evaluated_at_once_, rows.size() - at));
      fill(*evaluation_, data, batch);
      const kernels::Scores scores = evaluation_->pass(batch.size(), 0);
      facts.loss_sum += scores.loss;
      facts.correct += scores.correct;
    }
    return facts;
  }

 private:
  // The program of the last work when it was of the same make.
  Status take_training_program(const protocol::TrainingSpec& spec, std::size_t rows) {
    const auto batch = static_cast<std::uint32_t>(std::min<std::size_t>(spec.batch_size, rows));
    if (training_ && compiled_for_ == spec && compiled_batch_ == batch) return {};
    training_.reset();
    if (options_.budget > 0) evaluation_.reset();
    SHOAL_TRY_ASSIGN(trained_, protocol::trained_by(spec.plan, layout_));
    const ProgramOptions wanted{.norm_gradient = options_.norm_gradient, .spec = spec};
    SHOAL_TRY_ASSIGN(Fitted fitted, fit(graph_, trained_, wanted, batch, options_.budget));
    training_ = std::move(fitted.program);
    way_ = std::move(fitted.way);
    compiled_for_ = spec;
    compiled_batch_ = batch;
    return {};
  }

  Status take_evaluation_program() {
    if (evaluation_) return {};
    if (options_.budget > 0) training_.reset();  // both together might be too much
    const std::vector<bool> none(graph_.parameters.size());
    SHOAL_TRY_ASSIGN(Fitted fitted, fit(graph_, none, {.train = false}, kEvaluationBatch, options_.budget));
    evaluation_ = std::move(fitted.program);
    evaluated_at_once_ = fitted.way.options.examples;
    return {};
  }

  // One step, in as many passes as the program needs; the mean loss.
  double step(Program& program, const data::Dataset& data, std::span<const std::uint32_t> rows) {
    const std::size_t at_once = way_.options.examples;
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
  std::unique_ptr<Program> training_, evaluation_;
  Way way_;                    // of training_
  std::vector<bool> trained_;  // by training_
  protocol::TrainingSpec compiled_for_;
  std::uint32_t compiled_batch_ = 0;
  std::size_t evaluated_at_once_ = 0;
  std::vector<float> staged_;
};

}  // namespace

Result<std::unique_ptr<Trainer>> make_engine_trainer(const ModelDescription& model, const EngineOptions& options) {
  SHOAL_TRY_ASSIGN(Graph graph, graph_of(model));
  SHOAL_TRY_ASSIGN(TensorLayout layout, layout_of(model));
  return std::unique_ptr<Trainer>(std::make_unique<EngineTrainer>(model, std::move(graph), std::move(layout), options));
}

}  // namespace shoal::client::training::engine
