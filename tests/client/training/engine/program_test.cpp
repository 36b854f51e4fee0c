#include "client/training/engine/program.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <string>

#include "base/rng.h"
#include "client/training/engine/onednn.h"
#include "client/training/published_memory.h"
#include "client/training/trainer.h"
#include "protocol/update_plan.h"
#include "tests/client/training/trainer_bench.h"

namespace shoal::client::training::engine {
namespace {

// A model on random examples; the gradient of a step is read off the change that SGD with rate 1 makes.
class Probe {
 public:
  explicit Probe(std::string_view description, std::uint32_t examples = 3) : examples_(examples) {
    use_one_thread();
    const ModelDescription model = parse_description(description).value();
    graph = graph_of(model).value();
    const TensorLayout layout = layout_of(model).value();
    base.resize(layout.total());
    initialise(model, 4, base).value();
    Stream draw(9, "probe");
    for (float& v : base) v += static_cast<float>(0.1 * draw.uniform());  // no norm is exactly 1 and 0
    classes_ = model.classes;
    std::size_t size = 1;
    for (const std::uint32_t extent : model.input) size *= extent;
    inputs_.resize(examples * size);
    Stream pixels(9, "inputs");  // whatever the model
    const Op& first = graph.ops.front();
    for (float& v : inputs_)
      v = first.kind == OpKind::kEmbedding
              ? static_cast<float>(pixels.below(graph.parameters[*first.weight].spec.shape[0]))
              : static_cast<float>(2 * pixels.uniform() - 1);
  }

  std::unique_ptr<Program> compile(const std::vector<bool>& trained, ProgramOptions options = {}) const {
    options.spec.learning_rate = 1;
    return Program::compile(graph, trained, options).value();
  }
  void fill(Program& program, std::size_t first, std::size_t count) const {
    const std::size_t size = inputs_.size() / examples_;
    for (std::size_t i = 0; i < count; ++i) {
      std::copy_n(inputs_.data() + (first + i) * size, size, program.example(i).data());
      program.labels()[i] = static_cast<std::uint32_t>((first + i) % classes_);
    }
  }
  double loss(const std::vector<float>& model) const {
    const auto program = compile(std::vector<bool>(graph.parameters.size()), {.examples = examples_, .train = false});
    program->load(model).value();
    fill(*program, 0, examples_);
    return program->pass(examples_, 0).loss / examples_;
  }
  std::vector<float> after(Program& program) const {
    std::vector<float> model;
    for (ParameterId p = 0; p < graph.parameters.size(); ++p)
      model.insert(model.end(), program.parameter(p).begin(), program.parameter(p).end());
    return model;
  }
  // -gradient where trained, 0 elsewhere.
  std::vector<float> step(const std::vector<bool>& trained, ProgramOptions options = {}) const {
    options.examples = examples_;
    const auto program = compile(trained, options);
    program->load(base).value();
    fill(*program, 0, examples_);
    program->pass(examples_, 1.0f / static_cast<float>(examples_));
    std::vector<float> delta(base.size());
    std::size_t offset = 0;
    for (ParameterId p = 0; p < graph.parameters.size(); offset += count(p), ++p) {
      if (!trained[p]) continue;
      const std::span<const float> now = program->parameter(p);
      for (std::size_t i = 0; i < now.size(); ++i) delta[offset + i] = now[i] - base[offset + i];
    }
    return delta;
  }
  // The same examples as a trainer takes them: channels first.
  data::Dataset dataset() const {
    data::Dataset data;
    data.shape = {graph.shape(0).begin(), graph.shape(0).end()};
    data.classes = classes_;
    const std::size_t size = inputs_.size() / examples_, channels = data.shape[0], pixels = size / channels;
    data.floats.resize(inputs_.size());
    kernels::transpose(inputs_.data(), examples_, pixels, channels, data.floats.data());
    for (std::uint32_t i = 0; i < examples_; ++i) data.labels.push_back(i % classes_);
    return data;
  }
  std::size_t count(ParameterId p) const { return graph.parameters[p].count(); }
  std::vector<bool> all() const { return std::vector<bool>(graph.parameters.size(), true); }
  std::uint32_t examples() const { return examples_; }

  Graph graph;
  std::vector<float> base;

 private:
  std::uint32_t examples_;
  std::uint32_t classes_ = 0;
  std::vector<float> inputs_;
};

constexpr const char* kMixed =
    "shoal-model 1\nname mixed\ninput 2 9 9\nclasses 3\n"
    "conv2d c1 out=4 kernel=3 padding=1\ngroupnorm n1 groups=2\nrelu\n"
    "residual r1 out=4 groups=2\nresidual r2 out=8 stride=2 groups=2\n"
    "maxpool kernel=2\nflatten\nlinear f1 out=6\nrelu\nlinear f2 out=3\n";
constexpr const char* kAveraged =
    "shoal-model 1\nname averaged\ninput 3 8 8\nclasses 4\n"
    "conv2d c1 out=8 kernel=3 stride=2 padding=1 bias=0\ngroupnorm n1 groups=4\nrelu\nglobalaverage\nlinear f out=4\n";

constexpr const char* kMobile =
    "shoal-model 1\nname mobile\ninput 3 12 12\nclasses 4\n"
    "conv2d c1 out=8 kernel=3 padding=1 bias=0\ngroupnorm n1 groups=2\nrelu6\n"
    "mobile b1 out=8 kernel=3 expand=2 group_size=4 lite=3\nmobile b2 out=16 kernel=5 stride=2 expand=3 group_size=8 "
    "lite=5\nmobile b3 out=16 kernel=3 group_size=4\nglobalaverage\nlinear f out=4\n";

constexpr const char* kText =
    "shoal-model 1\nname text\ninput 7\nclasses 5\n"
    "embedding e out=12 vocabulary=5\nposition p\ntransformer b1 heads=3 hidden=20 causal=1\n"
    "transformer b2 heads=2 hidden=10 causal=1 lora=2 adapter=3\nlayernorm n\nlasttoken\nlinear f out=5\n";
constexpr const char* kPatches =
    "shoal-model 1\nname patches\ninput 2 12 8\nclasses 4\n"
    "conv2d c out=8 kernel=4 stride=4\ntokens\nposition p\ntransformer b1 heads=1 hidden=16 lora=3\n"
    "transformer b2 heads=4 hidden=12 adapter=2\nlinear l out=6\nrelu\nglobalaverage\nlayernorm n\nlinear f out=4\n";
constexpr const char* kFlatTokens =
    "shoal-model 1\nname flat\ninput 3 4 2\nclasses 3\n"
    "tokens\nlayernorm n\nflatten\nlayernorm m\nlinear f out=3\n";

class EveryGradient : public ::testing::TestWithParam<const char*> {};

// Central differences of the loss, in the directions of random signs: every coordinate takes part. The tolerance is for
// the kinks of ReLU and maximum on the way.
TEST_P(EveryGradient, IsThatOfFiniteDifferences) {
  const Probe probe(GetParam());
  const std::vector<float> delta = probe.step(probe.all());
  std::size_t offset = 0;
  for (ParameterId p = 0; p < probe.graph.parameters.size(); ++p) {
    const std::size_t n = probe.count(p);
    for (std::uint64_t seed = 0; seed < 3; ++seed) {
      Stream draw(seed, "direction", p);
      constexpr float kStep = 2e-3f;
      std::vector<float> up = probe.base, down = probe.base;
      double expected = 0, length = 0;
      for (std::size_t i = offset; i < offset + n; ++i) {
        const float sign = draw.below(2) == 0 ? 1.0f : -1.0f;
        const float move = kStep / std::sqrt(static_cast<float>(n)) * sign;
        up[i] += move;
        down[i] -= move;
        expected -= double{delta[i]} * sign / std::sqrt(static_cast<double>(n));
        length += double{delta[i]} * delta[i];
      }
      const double slope = (probe.loss(up) - probe.loss(down)) / (2 * kStep);
      EXPECT_NEAR(slope, expected, 0.02 * std::sqrt(length) + 2e-4) << probe.graph.parameters[p].spec.name;
    }
    offset += n;
  }
}
INSTANTIATE_TEST_SUITE_P(Models, EveryGradient,
                         ::testing::Values(kMixed, kAveraged, kMobile, kText, kPatches, kFlatTokens));

// Relative to the length of each parameter's gradient.
TEST_P(EveryGradient, IsThatOfLibTorch) {
  const Probe probe(GetParam());
  const ModelDescription model = parse_description(GetParam()).value();
  if (!training::testing::kHasTorch) GTEST_SKIP() << "the LibTorch trainer was not built";
  const auto oracle = make_torch_trainer(model).value();
  std::vector<std::uint32_t> rows(probe.examples());
  std::iota(rows.begin(), rows.end(), 0u);
  protocol::TrainingSpec spec;
  spec.learning_rate = 1;
  std::vector<float> want(probe.base.size());
  oracle->train(probe.base, probe.dataset(), rows, spec, 1, 1, want, {}).value();
  const std::vector<float> delta = probe.step(probe.all());
  const TensorLayout layout = layout_of(model).value();
  for (ParameterId p = 0; p < probe.graph.parameters.size(); ++p) {
    double length = 0, difference = 0;
    for (std::uint64_t i = layout.offset(p); i < layout.offset(p) + layout.count(p); ++i) {
      length += double{want[i]} * want[i];
      difference += (double{want[i]} - delta[i]) * (double{want[i]} - delta[i]);
    }
    EXPECT_LE(std::sqrt(difference), 1e-5 * std::sqrt(length) + 1e-6) << probe.graph.parameters[p].spec.name;
  }
}

// Whatever else is trained: the same gradient for each parameter, and frozen ones keep their bits.
TEST(Program, TrainsAnySubsetAsIfAllWereTrained) {
  for (const char* description : {kMixed, kAveraged, kMobile, kText, kPatches, kFlatTokens}) {
    const Probe probe(description);
    const std::vector<float> full = probe.step(probe.all());
    for (std::uint64_t seed = 0; seed < 25; ++seed) {
      Stream draw(seed, "subset");
      std::vector<bool> trained(probe.graph.parameters.size());
      for (std::size_t p = 0; p < trained.size(); ++p) trained[p] = draw.below(3) == 0;
      const std::vector<float> delta = probe.step(trained);
      std::size_t at = 0;
      for (ParameterId p = 0; p < trained.size(); ++p) {
        const std::size_t n = probe.count(p);
        for (std::size_t i = at; i < at + n; ++i)
          ASSERT_NEAR(delta[i], trained[p] ? full[i] : 0, trained[p] ? 1e-6 + 1e-4 * std::abs(full[i]) : 0)
              << probe.graph.parameters[p].spec.name << " seed " << seed;
        at += n;
      }
    }
  }
}

TEST(Program, RematerializationSavesMemoryAndChangesNoBit) {
  struct Case {
    const char* description;
    std::vector<LayerSpan> spans;
  };
  for (const Case& c : {Case{kMixed, {{3, 4}, {4, 5}}}, Case{kMixed, {{0, 3}, {3, 6}, {6, 10}}},
                        Case{kMobile, {{3, 4}, {4, 5}, {5, 6}}}, Case{kMobile, {{0, 3}, {3, 6}}},
                        Case{kMobile, {{0, 8}}}, Case{kText, {{2, 3}, {3, 4}}},
                        Case{kText, {{0, 2}, {2, 3}, {3, 4}, {4, 7}}}, Case{kPatches, {{3, 4}, {4, 5}}}}) {
    const Probe probe(c.description, 4);
    for (const char* plan : {"full", "bias", "norm"}) {
      const std::vector<bool> trained =
          protocol::trained_by(plan, layout_of(parse_description(c.description).value()).value()).value();
      EXPECT_EQ(probe.step(trained), probe.step(trained, {.rematerialize = c.spans})) << plan;
      if (c.spans.size() == 1 || std::string_view(plan) != "full") continue;  // small ones have nothing to save
      EXPECT_LT(probe.compile(trained, {.examples = 4, .rematerialize = c.spans})->plan().bytes,
                probe.compile(trained, {.examples = 4})->plan().bytes)
          << plan;
    }
  }
}

TEST(Program, FrozenWeightsInInt8TakeAQuarterAndStayCloseToFloat) {
  const Probe probe(kMobile, 4);
  const TensorLayout layout = layout_of(parse_description(kMobile).value()).value();
  const std::vector<bool> trained = protocol::trained_by("lite+bias", layout).value();
  const std::vector<float> exact = probe.step(trained), rough = probe.step(trained, {.frozen = FrozenWeights::kInt8});
  double difference = 0, length = 0;
  for (std::size_t i = 0; i < exact.size(); ++i) {
    difference += std::pow(exact[i] - rough[i], 2);
    length += std::pow(exact[i], 2);
  }
  EXPECT_GT(difference, 0);
  EXPECT_LT(difference, 0.01 * length);
  EXPECT_LT(probe.compile(trained, {.examples = 1, .frozen = FrozenWeights::kInt8})->plan().kept_bytes,
            probe.compile(trained, {.examples = 1})->plan().kept_bytes);
}

// What is alive when the forward pass is over, but for the logits, is what was kept.
std::size_t stored_bytes(const Program& program) {
  const auto instructions = program.tape().instructions();
  const auto loss =
      static_cast<std::size_t>(std::ranges::find(instructions, "loss", &Instruction::name) - instructions.begin());
  std::size_t bytes = 0;
  for (BufferId b = 0; b < program.tape().buffers().size(); ++b) {
    const Buffer& buffer = program.tape().buffers()[b];
    const Lifetime& lifetime = program.plan().lifetimes[b];
    const bool is_logits = std::ranges::find(instructions[loss].uses, b) != instructions[loss].uses.end();
    if (buffer.life == Life::kTransient && !is_logits && lifetime.first < loss && lifetime.last > loss)
      bytes += buffer.bytes;
  }
  return bytes;
}

// T5 of the digest of TinyTL, with the assumption of its accounting that norms keep nothing for frozen scales.
TEST(Program, KeepsWhatThePublishedAccountingCounts) {
  use_one_thread();
  for (const auto& [name, edge] : {std::pair("proxyless-mobile-lite", 224u), std::pair("mobilenetv2-0.35-lite", 32u)})
    for (const char* plan : {"head", "bias", "lite", "lite+bias", "norm", "full"}) {
      const ModelDescription model = make_description(name, {3, edge, edge}, 102).value();
      const Graph graph = graph_of(model).value();
      const auto trained = protocol::trained_by(plan, layout_of(model).value()).value();
      constexpr std::uint32_t kBatch = 4;
      const auto program =
          Program::compile(graph, trained, {.examples = kBatch, .norm_gradient = NormGradient::kConstant}).value();
      const auto published = static_cast<double>(kBatch * published_memory(graph, trained).stored_bytes);
      EXPECT_NEAR(static_cast<double>(stored_bytes(*program)), published, 0.05 * published) << name << " " << plan;
    }
}

// T7 of the digest: no example feels what others are in its batch. Losses are compared since a pass has nothing else.
TEST(Program, ABatchIsItsExamplesOneByOne) {
  const Probe probe(kMobile, 8);
  const std::vector<bool> none(probe.graph.parameters.size());
  const auto whole = probe.compile(none, {.examples = 8, .train = false}), one = probe.compile(none, {.train = false});
  whole->load(probe.base).value();
  one->load(probe.base).value();
  double sum = 0;
  for (std::size_t i = 0; i < 8; ++i) {
    probe.fill(*one, i, 1);
    const double alone = one->pass(1, 0).loss;
    sum += alone;
    probe.fill(*whole, i, 1);
    EXPECT_NEAR(whole->pass(1, 0).loss, alone, 1e-5);
  }
  probe.fill(*whole, 0, 8);
  EXPECT_NEAR(whole->pass(8, 0).loss, sum, 8e-5);
}

// T3: with the scale and shift of its last norm at zero a lite residual branch adds nothing at all.
TEST(Program, ABranchWhoseLastNormIsZeroChangesNoBit) {
  const auto without = [] {
    std::string text = kMobile;
    for (const char* lite : {" lite=3", " lite=5"}) text.erase(text.find(lite), std::string_view(lite).size());
    return text;
  }();
  const Probe with(kMobile, 4);
  const TensorLayout layout = layout_of(parse_description(kMobile).value()).value(),
                     plain = layout_of(parse_description(without).value()).value();
  std::vector<float> branched = with.base, frozen(plain.total());
  std::size_t zeroed = 0;
  for (std::size_t t = 0; t < layout.tensors().size(); ++t) {
    const TensorSpec& spec = layout.tensors()[t];
    const auto values = std::span(branched).subspan(layout.offset(t), layout.count(t));
    if (spec.group == "lite" && spec.name.find("norm2") != std::string::npos) {
      std::ranges::fill(values, 0.0f);
      ++zeroed;
    }
    for (std::size_t p = 0; p < plain.tensors().size(); ++p)
      if (plain.tensors()[p].name == spec.name)
        std::ranges::copy(values, frozen.begin() + static_cast<std::ptrdiff_t>(plain.offset(p)));
  }
  EXPECT_EQ(zeroed, 4u) << "scale and shift of two branches";
  EXPECT_EQ(with.loss(branched), Probe(without, 4).loss(frozen));
  EXPECT_NE(with.loss(with.base), Probe(without, 4).loss(frozen));
}

// T8, its first half.
TEST(Program, AFrozenWeightInInt8HasAtMost256ValuesARow) {
  const std::size_t rows = 3, columns = 5000;
  Stream draw(2, "weights");
  std::vector<float> weight(rows * columns), back(weight.size()), scales(rows);
  for (float& w : weight) w = static_cast<float>(draw.uniform() - 0.5);
  std::vector<std::int8_t> values(weight.size());
  kernels::quantize_rows(weight.data(), rows, columns, values.data(), scales.data());
  kernels::dequantize_rows(values.data(), scales.data(), rows, columns, back.data());
  EXPECT_LE(std::set<std::int8_t>(values.begin(), values.end()).size(), 256u) << "as stored, in the whole tensor";
  for (std::size_t row = 0; row < rows; ++row) {
    const auto begin = back.begin() + static_cast<std::ptrdiff_t>(row * columns);
    EXPECT_LE(std::set<float>(begin, begin + columns).size(), 256u);
  }
}

TEST(Program, NeedsLessMemoryTheLessIsTrained) {
  const Probe probe(kMixed, 8);
  const auto arena = [&](const std::vector<bool>& trained) {
    return probe.compile(trained, {.examples = 8})->plan().bytes;
  };
  std::vector<bool> head(probe.graph.parameters.size());
  head[head.size() - 1] = head[head.size() - 2] = true;
  std::vector<bool> biases(probe.graph.parameters.size());
  for (std::size_t p = 0; p < biases.size(); ++p) biases[p] = probe.graph.parameters[p].spec.name.ends_with(".bias");
  EXPECT_LT(arena(head), arena(biases));
  EXPECT_LT(arena(biases), arena(probe.all()));
}

TEST(Program, ASplitStepIsTheWholeStep) {
  for (const auto& [description, momentum] :
       {std::pair(kMixed, 0.0), std::pair(kMixed, 0.9), std::pair(kText, 0.0), std::pair(kPatches, 0.9)}) {
    const Probe probe(description, 6);
    ProgramOptions options{.examples = 6};
    options.spec.momentum = momentum;
    const std::vector<float> whole = probe.step(probe.all(), options);
    options.examples = 2;
    options.accumulate = true;
    const auto program = probe.compile(probe.all(), options);
    for (int repetition = 0; repetition < 2; ++repetition) {  // load() forgets everything
      program->load(probe.base).value();
      for (std::size_t first = 0; first < 6; first += 2) {
        probe.fill(*program, first, 2);
        program->pass(2, 1.0f / 6);
      }
      program->finish();
      const std::vector<float> after = probe.after(*program);
      for (std::size_t i = 0; i < after.size(); ++i)
        ASSERT_NEAR(after[i] - probe.base[i], whole[i], 1e-6 + 1e-4 * std::abs(whole[i]));
    }
  }
}

TEST(Program, ABatchOfEightIsTheMeanOfEightBatchesOfOne) {
  for (const char* description : {kText, kPatches}) {
    const Probe probe(description, 8);
    const std::vector<float> together = probe.step(probe.all());
    std::vector<float> mean(together.size());
    const auto single = probe.compile(probe.all(), {.examples = 1});
    double loss = 0;
    for (std::size_t i = 0; i < 8; ++i) {
      single->load(probe.base).value();
      probe.fill(*single, i, 1);
      loss += single->pass(1, 1).loss / 8;
      const std::vector<float> after = probe.after(*single);
      for (std::size_t j = 0; j < mean.size(); ++j) mean[j] += (after[j] - probe.base[j]) / 8;
    }
    EXPECT_NEAR(loss, probe.loss(probe.base), 1e-6);
    for (std::size_t j = 0; j < mean.size(); ++j) ASSERT_NEAR(together[j], mean[j], 1e-6 + 1e-4 * std::abs(mean[j]));
  }
}

TEST(Program, ExamplesThatAreMissingCountForNothing) {
  const Probe probe(kMixed, 2);
  const std::vector<float> want = probe.step(probe.all());
  const auto roomy = probe.compile(probe.all(), {.examples = 5});
  roomy->load(probe.base).value();
  // Whatever the step before left in the places that stay empty, since the arena uses them for other things as well.
  for (std::size_t i = 0; i < 5; ++i) std::ranges::fill(roomy->example(i), std::numeric_limits<float>::quiet_NaN());
  probe.fill(*roomy, 0, 2);
  roomy->pass(2, 0.5f);
  const std::vector<float> after = probe.after(*roomy);
  for (std::size_t i = 0; i < after.size(); ++i)
    ASSERT_NEAR(after[i] - probe.base[i], want[i], 1e-6 + 1e-4 * std::abs(want[i]));
}

TEST(Program, ConstantStatisticsNeedNoInputsAndGiveAnotherGradient) {
  const Probe probe(kMixed);
  std::vector<bool> first_weight(probe.graph.parameters.size());
  first_weight[0] = true;
  const std::vector<float> exact = probe.step(first_weight);
  const std::vector<float> constant = probe.step(first_weight, {.norm_gradient = NormGradient::kConstant});
  double difference = 0;
  for (std::size_t i = 0; i < exact.size(); ++i) difference += std::abs(exact[i] - constant[i]);
  EXPECT_GT(difference, 1e-4);
  EXPECT_LT(probe.compile(first_weight, {.examples = 8, .norm_gradient = NormGradient::kConstant})->plan().bytes,
            probe.compile(first_weight, {.examples = 8})->plan().bytes);
}

TEST(Program, ItsArenaIsCloseToWhatLivesAtOnce) {
  for (const char* description : {kMixed, kAveraged, kMobile, kText, kPatches}) {
    const Probe probe(description, 16);
    const auto program = probe.compile(probe.all(), {.examples = 16});
    EXPECT_LE(static_cast<double>(program->plan().bytes), 1.1 * static_cast<double>(program->plan().live_bytes));
  }
}

}  // namespace
}  // namespace shoal::client::training::engine
