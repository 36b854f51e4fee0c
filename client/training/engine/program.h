// A model and what is to be trained of it, compiled: every kernel, every address and the peak of memory are known
// before the first step. Backward instructions are derived when it is compiled and only where something trained needs
// them (Tiny Training Engine, PockEngine: Lin et al. 2022, Zhu et al. 2023).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "client/training/engine/arena.h"
#include "client/training/engine/kernels.h"
#include "client/training/engine/tape.h"
#include "client/training/graph.h"
#include "client/training/sgd.h"

namespace shoal::client::training::engine {

// What the gradient of a group norm takes into account.
enum class NormGradient : std::uint8_t {
  kExact,     // that mean and deviation depend on the input, which is kept for it
  kConstant,  // mean and deviation as constants: nothing is kept, as TinyTL's accounting assumes; a biased gradient
};

struct ProgramOptions {
  std::uint32_t examples = 1;  // that are in memory at once; a pass takes as many or fewer
  bool train = true;           // else losses only
  bool accumulate = false;     // a step is made of several passes; then gradients are kept until finish()
  NormGradient norm_gradient = NormGradient::kExact;
  protocol::TrainingSpec spec = {};
};

// A step is load() once, then for every step: examples and labels in, pass(), and with `accumulate` more of these and
// finish(). One thread at a time, which has called use_one_thread() (onednn.h). A pass allocates no memory of the
// model's size: everything is in the arena; oneDNN makes a small list of arguments for each primitive.
class Program {
 public:
  // `trained` has one entry for each parameter of the graph. kExhausted when the arena cannot be had, kFailed when
  // oneDNN refuses an operation.
  static Result<std::unique_ptr<Program>> compile(const Graph& graph, const std::vector<bool>& trained,
                                                  const ProgramOptions& options);
  ~Program();

  // Parameters from a flat model in the graph's order; forgets momentum. `model` must outlive the steps when they have
  // a proximal term.
  void load(std::span<const float> model);
  std::span<const float> parameter(ParameterId parameter) const;

  // Where example `place` goes: [height, width, channels], or features.
  std::span<float> example(std::size_t place);
  std::span<std::uint32_t> labels();

  // Forward over the first `examples` places and, when training, backward; `share` is what one example's loss counts in
  // the step's: 1 / examples of the step. Returns sums over the examples.
  kernels::Scores pass(std::size_t examples, float share);
  // Updates the parameters with what the passes accumulated.
  void finish();

  const Tape& tape() const { return tape_; }
  const ArenaPlan& plan() const { return plan_; }

 private:
  friend class Compiler;

  // What a pass tells its kernels.
  struct Pass {
    std::size_t examples = 0;
    float share = 0;
    const float* model = nullptr;
    kernels::Scores scores;
  };
  struct ArenaMemory;

  explicit Program(std::size_t parameters);
  Status bind();

  Tape tape_;
  std::size_t pass_end_ = 0;  // instructions from here on belong to finish()
  std::vector<BufferId> parameters_, zeroed_;
  std::vector<std::uint64_t> parameter_offsets_;
  BufferId input_ = 0, labels_ = 0;
  std::size_t examples_ = 0, example_size_ = 0;
  std::unique_ptr<Pass> pass_;
  ArenaPlan plan_;
  std::unique_ptr<ArenaMemory> arena_;
  std::vector<Kernel> kernels_;
};

}  // namespace shoal::client::training::engine
