// One model of the catalogue on glyphs, with a trainer and a starting point: what tests of trainers begin with.
#pragma once

#include <cmath>
#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "client/data/procedural.h"
#include "client/data/readers.h"
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

inline constexpr std::uint32_t kWindow = 20;

// Windows of a text that repeats itself with changes.
inline const data::Dataset& windows() {
  static const data::Dataset dataset = [] {
    std::string text;
    for (int i = 0; text.size() < 400; ++i)
      text += "Round " + std::to_string(i * i) + " of the shoal, all fish keep together.\n";
    const std::vector<std::uint8_t> bytes(text.begin(), text.end());
    data::ReadOptions options;
    options.window = kWindow;
    options.window_step = 3;
    return data::read_text(*data::bytes_in_memory(bytes, "text"), options).value();
  }();
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

// What a model of the catalogue takes: a window of text, or an image.
inline bool takes_text(std::string_view name) { return name.starts_with("char-"); }
inline Shape input_of(std::string_view name, Shape image = {1, 28, 28}) {
  return takes_text(name) ? Shape{kWindow} : std::move(image);
}

using MakeTrainer = std::function<std::unique_ptr<Trainer>(const ModelDescription&)>;

struct Bench {
  Bench(const MakeTrainer& make, std::string_view name, std::uint32_t classes = 10)
      : data(takes_text(name) ? windows() : glyphs()),
        description(make_description(name, input_of(name), takes_text(name) ? data.classes : classes).value()),
        trainer(make(description)),
        base(trainer->layout().total()),
        update(protocol::UpdateLayout::whole(base.size())),
        delta(base.size()) {
    initialise(description, 3, base).value();
  }
  Result<TrainingOutcome> train(const std::vector<std::uint32_t>& rows, const protocol::TrainingSpec& spec,
                                std::uint32_t steps, const std::function<bool()>& before_step = {}) {
    if (auto layout = protocol::update_layout(spec.plan, trainer->layout()); layout.ok()) update = *std::move(layout);
    delta.resize(update.floats());
    return trainer->train(base, data, rows, spec, steps, 11, delta, before_step);
  }
  std::vector<float> trained() const {
    std::vector<float> model = base;
    for (const protocol::UpdateRange& range : update.ranges())
      for (std::uint64_t i = 0; i < range.count; ++i) model[range.model + i] += delta[range.update + i];
    return model;
  }

  const data::Dataset& data;
  ModelDescription description;
  std::unique_ptr<Trainer> trainer;
  std::vector<float> base;
  protocol::UpdateLayout update;  // of the last training's plan
  std::vector<float> delta;
};

}  // namespace shoal::client::training::testing
