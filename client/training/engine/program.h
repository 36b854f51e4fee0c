// A model and what is to be trained of it, compiled: every kernel, every address and the peak of memory are known
// before the first step. Backward instructions are derived when it is compiled and only where something trained needs
// them (Tiny Training Engine, PockEngine: Lin et al. 2022, Zhu et al. 2023).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "client/training/engine/arena.h"
#include "client/training/engine/kernels.h"
#include "client/training/engine/tape.h"
#include "client/training/graph.h"
#include "client/training/local_optimizer.h"

namespace shoal::client::training::engine {

// What the gradient of a group norm takes into account.
enum class NormGradient : std::uint8_t {
  kExact,     // that mean and deviation depend on the input, which is kept for it
  kConstant,  // mean and deviation as constants: nothing is kept, as TinyTL's accounting assumes; a biased gradient
};

// How weights that are not trained lie in memory. Biases and norms are float32 anyway.
enum class FrozenWeights : std::uint8_t {
  kFloat,
  kInt8,  // with a scale for each output channel; made float32 again, one layer at a time, where they are used
};

// Layers of the description, from `first` to before `end`.
struct LayerSpan {
  std::uint32_t first = 0, end = 0;
};

struct ProgramOptions {
  std::uint32_t examples = 1;  // that are in memory at once; a pass takes as many or fewer
  bool train = true;           // else losses only
  bool accumulate = false;     // a step is made of several passes; then gradients are kept until finish()
  NormGradient norm_gradient = NormGradient::kExact;
  FrozenWeights frozen = FrozenWeights::kFloat;
  Moments moments = Moments::kFloat;
  // Forward values inside these spans are not kept for the backward pass but computed again from what enters the span
  // (Chen et al. 2016): the same bits for one more forward pass over it. In order, without overlap.
  std::vector<LayerSpan> rematerialize = {};
  protocol::TrainingSpec spec = {};
};

// load() once, then for every step: examples and labels in, pass(), with `accumulate` more of these, and finish(). One
// thread at a time, which has called use_one_thread() (onednn.h). A pass allocates no memory of the model's size:
// everything is in the arena; oneDNN makes a small list of arguments for each primitive.
// What lives from step to step, in bytes.
struct StateBytes {
  std::size_t trained = 0, frozen = 0;  // parameters
  std::size_t moments = 0;              // of the optimizer
  std::size_t gradients = 0;            // that are accumulated
};

class Program {
 public:
  // `trained` has one entry for each parameter of the graph. Takes no memory for the arena yet. kFailed when oneDNN
  // refuses an operation.
  static Result<std::unique_ptr<Program>> compile(const Graph& graph, const std::vector<bool>& trained,
                                                  const ProgramOptions& options);
  ~Program();

  // Parameters from a flat model in the graph's order; forgets momentum. `model` must outlive the steps. kExhausted
  // when the arena cannot be had.
  Status load(std::span<const float> model);
  // Of one that is trained, or frozen in float32.
  std::span<const float> parameter(ParameterId parameter) const;

  // Where example `place` goes: [height, width, channels], or features. To be filled before every pass.
  std::span<float> example(std::size_t place);
  std::span<std::uint32_t> labels();

  // Forward over the first `examples` places and, when training, backward; `share` is what one example's loss counts in
  // the step's: 1 / examples of the step. Returns sums over the examples.
  kernels::Scores pass(std::size_t examples, float share);
  // Ends the step: updates the parameters with what its passes accumulated. Without `accumulate` pass() did that.
  void finish();

  // A step over places that are filled with zeros: what each instruction of the tape took, in seconds.
  std::vector<double> time_step(const Clock& clock);

  // What does not live from step to step needs no memory until the next pass. The parameters stay.
  void rest();

  const Tape& tape() const { return tape_; }
  // Instructions from here on are finish()'s.
  std::size_t pass_end() const { return pass_end_; }
  const ArenaPlan& plan() const { return plan_; }
  const StateBytes& state() const { return state_; }

 private:
  friend class Compiler;

  struct Stored {
    BufferId values = 0;
    std::optional<BufferId> scales;  // then the values are int8
    std::uint64_t offset = 0;        // in a flat model
    std::size_t count = 0, rows = 0;
  };
  // What a pass tells its kernels.
  struct Pass {
    std::size_t examples = 0;
    float share = 0;
    const float* model = nullptr;
    std::uint64_t step = 0;  // from 1
    kernels::Scores scores;
  };
  struct ArenaMemory;

  explicit Program(std::size_t parameters);
  Status bind();

  Tape tape_;
  std::size_t pass_end_ = 0;  // instructions from here on belong to finish()
  std::vector<Stored> parameters_;
  StateBytes state_;
  std::vector<BufferId> zeroed_;
  BufferId input_ = 0, labels_ = 0;
  std::size_t examples_ = 0, example_size_ = 0;
  std::unique_ptr<Pass> pass_;
  ArenaPlan plan_;
  std::unique_ptr<ArenaMemory> arena_;
  std::vector<Kernel> kernels_;
};

}  // namespace shoal::client::training::engine
