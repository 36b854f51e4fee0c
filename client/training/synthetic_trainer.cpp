// A trainer without learning: deltas that depend on everything a real one depends on, at the cost of filling memory.
#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "base/rng.h"
#include "base/vector_clones.h"
#include "client/training/batch_order.h"
#include "client/training/trainer.h"
#include "client/training/trainer_checks.h"
#include "protocol/update_layout.h"

namespace shoal::client::training {
namespace {

constexpr float kBound = 0.01f;  // largest |coordinate| of a delta
constexpr std::size_t kProbes = 64;

// A few values of the model stand for all of it.
std::uint64_t fingerprint(std::span<const float> model) {
  std::uint64_t h = model.size();
  const std::size_t stride = std::max<std::size_t>(1, model.size() / kProbes);
  for (std::size_t i = 0; i < model.size(); i += stride)
    h = derive_seed(h, "probe", std::bit_cast<std::uint32_t>(model[i]));
  return h;
}

// Knuth's linear congruential generator, x <- a x + c. Each lane makes kLanes steps at once, so that no value waits for
// the one before it: x <- a^kLanes x + c (1 + a + ... + a^(kLanes-1)).
SHOAL_VECTOR_CLONES
void draw(std::uint64_t state, std::span<float> values) {
  constexpr std::uint64_t kFactor = 6364136223846793005u, kIncrement = 1442695040888963407u;
  constexpr std::size_t kLanes = 8;
  std::array<std::uint64_t, kLanes> lanes;
  std::uint64_t factor = 1, increment = 0;
  for (std::uint64_t& lane : lanes) {
    lane = state = state * kFactor + kIncrement;
    increment = increment * kFactor + kIncrement;
    factor *= kFactor;
  }
  const auto value_of = [](std::uint64_t lane) {
    return kBound * (static_cast<float>(static_cast<std::int32_t>(lane >> 40)) * 0x1.0p-23f - 1.0f);
  };
  float* out = values.data();
  float* const end = out + values.size() / kLanes * kLanes;
  for (; out != end; out += kLanes) {
    for (std::size_t j = 0; j < kLanes; ++j) out[j] = value_of(lanes[j]);
    for (std::size_t j = 0; j < kLanes; ++j) lanes[j] = lanes[j] * factor + increment;
  }
  for (std::size_t j = 0; j < values.size() % kLanes; ++j) out[j] = value_of(lanes[j]);
}

class SyntheticTrainer final : public Trainer {
 public:
  explicit SyntheticTrainer(TensorLayout layout) : layout_(std::move(layout)) {}

  const TensorLayout& layout() const override { return layout_; }

  Result<TrainingOutcome> train(std::span<const float> base, const data::Dataset&, std::span<const std::uint32_t> rows,
                                const protocol::TrainingSpec& spec, std::uint32_t steps, std::uint64_t seed,
                                std::span<float> delta, const std::function<bool()>& before_step) override {
    SHOAL_CHECK(base.size() == layout_.total(), "model of another length");
    SHOAL_TRY_ASSIGN(const protocol::UpdateLayout update, protocol::update_layout(spec.plan, layout_));
    SHOAL_CHECK(delta.size() == update.floats(), "update of another length");
    SHOAL_TRY(check_work(rows, spec));
    const std::uint64_t wanted = steps_wanted(rows.size(), spec, steps);
    SHOAL_TRY(take_steps(
        wanted, [](std::uint64_t) { return 0.0; }, before_step));
    draw(derive_seed(seed, "synthetic", fingerprint(base), wanted), delta);
    return TrainingOutcome{.steps = wanted, .loss = 1.0 / static_cast<double>(wanted)};
  }

  Result<protocol::EvaluationFacts> evaluate(std::span<const float> model, const data::Dataset&,
                                             std::span<const std::uint32_t> rows) override {
    SHOAL_CHECK(model.size() == layout_.total(), "model of another length");
    Stream stream(fingerprint(model), "evaluation");
    return protocol::EvaluationFacts{.samples = rows.size(),
                                     .correct = stream.below(rows.size() + 1),
                                     .loss_sum = static_cast<double>(rows.size()) * stream.uniform()};
  }

 private:
  TensorLayout layout_;
};

}  // namespace

std::unique_ptr<Trainer> make_synthetic_trainer(TensorLayout layout) {
  return std::make_unique<SyntheticTrainer>(std::move(layout));
}

}  // namespace shoal::client::training
