// One model of the catalogue on glyphs, with a trainer and a starting point: what tests of trainers begin with.
#pragma once

#include <cmath>
#include <functional>
#include <memory>
#include <numeric>
#include <string_view>
#include <vector>

#include "client/data/procedural.h"
#include "client/training/trainer.h"
#include "protocol/update_layout.h"

namespace shoal::client::training::testing {

// Is there a LibTorch trainer to compare with? A test that needs it skips where it was not built, and fails where it
// was and does not load.
#ifdef SHOAL_TEST_TORCH
inline constexpr bool kHasTorch = true;
#else
inline constexpr bool kHasTorch = false;
#endif

inline const data::Dataset& glyphs() {
  static const data::Dataset dataset = data::make_procedural({.seed = 5, .writers = 2, .examples = 60}).value();
  return dataset;
}

inline std::vector<std::uint32_t> first_rows(std::uint32_t count) {
  std::vector<std::uint32_t> rows(count);
  std::iota(rows.begin(), rows.end(), 0u);
  return rows;
}

inline double norm(const std::vector<float>& v) {
  double sum = 0;
  for (const float x : v) sum += double{x} * x;
  return std::sqrt(sum);
}

inline double distance(const std::vector<float>& a, const std::vector<float>& b) {
  std::vector<float> d(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) d[i] = a[i] - b[i];
  return norm(d);
}

using MakeTrainer = std::function<std::unique_ptr<Trainer>(const ModelDescription&)>;

struct Bench {
  Bench(const MakeTrainer& make, std::string_view name, std::uint32_t classes = 10)
      : description(make_description(name, {1, 28, 28}, classes).value()),
        trainer(make(description)),
        base(trainer->layout().total()),
        update(protocol::UpdateLayout::whole(base.size())),
        delta(base.size()) {
    initialise(description, 3, base).value();
  }
  Result<TrainingOutcome> train(const std::vector<std::uint32_t>& rows, const protocol::TrainingSpec& spec,
                                std::uint32_t steps, const std::function<bool()>& between_steps = {}) {
    if (auto layout = protocol::update_layout(spec.plan, trainer->layout()); layout.ok()) update = *std::move(layout);
    delta.resize(update.floats());
    return trainer->train(base, glyphs(), rows, spec, steps, 11, delta, between_steps);
  }
  std::vector<float> trained() const {
    std::vector<float> model = base;
    for (const protocol::UpdateRange& range : update.ranges())
      for (std::uint64_t i = 0; i < range.count; ++i) model[range.model + i] += delta[range.update + i];
    return model;
  }

  ModelDescription description;
  std::unique_ptr<Trainer> trainer;
  std::vector<float> base;
  protocol::UpdateLayout update;  // of the last training's plan
  std::vector<float> delta;
};

}  // namespace shoal::client::training::testing
