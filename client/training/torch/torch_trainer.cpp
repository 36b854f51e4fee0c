// The LibTorch trainer and the plugin's one symbol.
#include <ATen/Parallel.h>
#include <torch/autograd.h>
#include <torch/types.h>

#include <algorithm>
#include <new>
#include <numeric>

#include "client/training/batch_order.h"
#include "client/training/local_optimizer.h"
#include "client/training/torch/batch.h"
#include "client/training/torch/model.h"
#include "client/training/torch/plugin.h"
#include "client/training/trainer_checks.h"
#include "protocol/update_layout.h"
#include "protocol/update_plan.h"

namespace shoal::client::training {
namespace {

constexpr std::size_t kEvaluationBatch = 128;

// Runs `work`, which may throw as LibTorch does, and turns what it throws into an Error.
template <class Work>
auto guarded(const char* what, Work work) -> decltype(work()) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return Error(ErrorCode::kExhausted, std::string(what) + ": memory ran out");
  } catch (const c10::Error& e) {
    const std::string why = e.what_without_backtrace();
    const bool memory = why.find("allocate memory") != std::string::npos;
    return Error(memory ? ErrorCode::kExhausted : ErrorCode::kFailed, std::string(what) + ": LibTorch says: " + why);
  } catch (const std::exception& e) {
    return Error(ErrorCode::kFailed, std::string(what) + ": " + e.what());
  }
}

class TorchTrainer final : public Trainer {
 public:
  TorchTrainer(ModelDescription description, Graph graph, TensorLayout layout)
      : model_(std::move(description), std::move(graph), std::move(layout)) {}

  const TensorLayout& layout() const override { return model_.layout(); }

  Result<TrainingOutcome> train(std::span<const float> base, const data::Dataset& data,
                                std::span<const std::uint32_t> rows, const protocol::TrainingSpec& spec,
                                std::uint32_t steps, std::uint64_t seed, std::span<float> delta,
                                const std::function<bool()>& before_step) override {
    SHOAL_CHECK(base.size() == layout().total(), "model of another length");
    SHOAL_TRY(check_work(rows, spec));
    SHOAL_TRY(check_data(model_.description(), data, rows));
    SHOAL_TRY_ASSIGN(const std::vector<bool> trained, protocol::trained_by(spec.plan, layout()));
    SHOAL_CHECK(delta.size() == protocol::UpdateLayout(trained, layout()).floats(), "update of another length");
    return guarded("training", [&]() -> Result<TrainingOutcome> {
      at::init_num_threads();  // this thread's OpenMP: kernels outside of at::parallel_for ask it
      model_.load(base);
      model_.train_only(trained);
      Batch batch(model_.description(), std::min<std::size_t>(spec.batch_size, rows.size()));
      BatchOrder order(rows, spec.batch_size, seed);
      const LocalOptimizer optimizer(spec);
      std::vector<std::vector<std::byte>> states;
      for (std::size_t i = 0; i < trained.size(); ++i)
        states.emplace_back(trained[i] ? optimizer.state_bytes(layout().count(i)) : 0);
      const auto make = [&](std::uint64_t number) {
        batch.fill(data, order.next());
        return step(batch, trained, optimizer, base, states, number);
      };
      SHOAL_TRY_ASSIGN(const TrainingOutcome outcome,
                       take_steps(steps_wanted(rows.size(), spec, steps), make, before_step));
      store_delta(base, trained, delta);
      return outcome;
    });
  }

  Result<protocol::EvaluationFacts> evaluate(std::span<const float> model, const data::Dataset& data,
                                             std::span<const std::uint32_t> rows) override {
    SHOAL_CHECK(model.size() == layout().total(), "model of another length");
    SHOAL_TRY(check_data(model_.description(), data, rows));
    return guarded("evaluation", [&]() -> Result<protocol::EvaluationFacts> {
      at::init_num_threads();
      const at::NoGradGuard no_grad;
      model_.load(model);
      protocol::EvaluationFacts facts{.samples = rows.size()};
      Batch batch(model_.description(), std::min(kEvaluationBatch, std::max<std::size_t>(rows.size(), 1)));
      for (std::size_t at = 0; at < rows.size(); at += kEvaluationBatch) {
        batch.fill(data, rows.subspan(at, std::min(kEvaluationBatch, rows.size() - at)));
        const at::Tensor logits = model_.forward(batch.examples());
        facts.loss_sum += at::cross_entropy_loss(logits, batch.labels(), {}, at::Reduction::Sum).item<double>();
        facts.correct += static_cast<std::uint64_t>(logits.argmax(1).eq(batch.labels()).sum().item<std::int64_t>());
      }
      return facts;
    });
  }

 private:
  // One forward, backward and update; returns the batch's mean loss.
  double step(const Batch& batch, const std::vector<bool>& trained, const LocalOptimizer& optimizer,
              std::span<const float> base, std::vector<std::vector<std::byte>>& states, std::uint64_t number) {
    const at::Tensor loss = at::cross_entropy_loss(model_.forward(batch.examples()), batch.labels());
    const std::span<at::Tensor> parameters = model_.parameters();
    std::vector<at::Tensor> wanted;
    for (std::size_t i = 0; i < parameters.size(); ++i)
      if (trained[i]) wanted.push_back(parameters[i]);
    const std::vector<at::Tensor> gradients = torch::autograd::grad({loss}, wanted);
    for (std::size_t i = 0, next = 0; i < parameters.size(); ++i) {
      if (!trained[i]) continue;
      const std::uint64_t offset = layout().offset(i);
      const at::Tensor gradient = gradients[next++].contiguous();
      optimizer.apply(parameters[i].data_ptr<float>(), gradient.data_ptr<float>(), base.data() + offset,
                      states[i].data(), layout().count(i), number);
    }
    return loss.item<double>();
  }

  void store_delta(std::span<const float> base, const std::vector<bool>& trained, std::span<float> delta) {
    std::size_t at = 0;
    for (std::size_t i = 0; i < model_.parameters().size(); ++i) {
      if (!trained[i]) continue;
      const float* weights = model_.parameters()[i].data_ptr<float>();
      const std::uint64_t offset = layout().offset(i);
      for (std::uint64_t j = 0; j < layout().count(i); ++j) delta[at++] = weights[j] - base[offset + j];
    }
  }

  TorchModel model_;
};

// LibTorch's thread counts belong to the process, and one of them may be set only once: when the plugin is loaded.
[[maybe_unused]] const bool kOneThread = [] {
  at::set_num_threads(1);
  at::set_num_interop_threads(1);
  return true;
}();

Result<std::unique_ptr<Trainer>> make(const ModelDescription& description) {
  SHOAL_TRY_ASSIGN(Graph graph, graph_of(description));
  SHOAL_TRY_ASSIGN(TensorLayout layout, layout_of(description));
  return guarded("making a trainer", [&]() -> Result<std::unique_ptr<Trainer>> {
    return std::unique_ptr<Trainer>(std::make_unique<TorchTrainer>(description, std::move(graph), std::move(layout)));
  });
}

}  // namespace
}  // namespace shoal::client::training

extern "C" __attribute__((visibility("default"))) const shoal::client::training::TorchPlugin shoal_torch_plugin;
const shoal::client::training::TorchPlugin shoal_torch_plugin{.make = shoal::client::training::make};
