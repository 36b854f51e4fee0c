// From a graph to the tape of a program: forward, loss, backward as far as something trained needs it, and updates as
// soon as they are legal.
#pragma once

#include <optional>
#include <vector>

#include "client/training/engine/operations.h"
#include "client/training/engine/program.h"
#include "client/training/engine/token_kernels.h"

namespace shoal::client::training::engine {

class Compiler {
 public:
  // All of them outlive run().
  Compiler(const Graph& graph, const std::vector<bool>& trained, const ProgramOptions& options, Program& program);

  // Throws dnnl::error.
  void run();

 private:
  // What the forward pass of an operation keeps for its backward pass.
  struct Kept {
    BufferId mask = 0, mean = 0, rstd = 0, chosen = 0, log_sums = 0;
  };

  // Operations of one span, by index: from `first` to before `end`.
  struct Segment {
    std::size_t first, end;
  };

  bool trains(std::optional<ParameterId> parameter) const { return parameter && trained_[*parameter]; }
  bool keeps_input(const Op& op) const;
  std::string name_of_op(const Op& op) const;
  // What lies innermost in memory: channels of an image, features of tokens or of an example; and how often.
  std::uint32_t channels(ValueId value) const;
  std::size_t pixels(ValueId value) const { return graph_.count(value) / channels(value); }
  // A linear layer, or a 1x1 convolution: both are one matrix product.
  bool is_product(const Op& op) const;
  bool is_depthwise(const Op& op) const;
  LinearShape product_shape(const Op& op) const;
  ConvolutionShape convolution_shape(const Op& op) const;
  kernels::NormShape norm_shape(const Op& op) const;
  kernels::PoolShape pool_shape(const Op& op) const;
  kernels::AttentionShape attention_shape(const Op& op) const;

  void place_state();
  BufferId weight_rows(ParameterId parameter, std::size_t first, std::size_t rows);
  BufferId weight_values(ParameterId parameter);
  BufferId part_of_weight(const Op& op, const LinearShape& part);
  std::vector<LinearShape> product_parts(const Op& op) const;
  void forward(const Op& op, Kept& kept);
  void forward_norm(const Op& op, Kept& kept);
  void forward_pool(const Op& op, Kept& kept);
  void forward_flatten(const Op& op);
  void forward_tokens(const Op& op, Kept& kept);
  void forward_layer_norm(const Op& op, Kept& kept);
  void loss();
  void backward(const Op& op, const Kept& kept);
  void backward_dense(const Op& op, BufferId gy);
  void backward_norm(const Op& op, const Kept& kept, BufferId gy);
  void backward_elementwise(const Op& op, const Kept& kept, BufferId gy);
  void backward_reshaping(const Op& op, const Kept& kept, BufferId gy);
  void backward_tokens(const Op& op, const Kept& kept, BufferId gy);
  void backward_layer_norm(const Op& op, const Kept& kept, BufferId gy);
  void backward_table(const Op& op, BufferId gy);
  void finish_step();

  // A layer norm's or GELU's result is not kept beside its input: it is made again where a weight's gradient reads it.
  void make_input_again(const Op& op, std::vector<Kept>& kept);

  // Rematerialization.
  std::vector<Segment> segments() const;
  bool produces_kept(const Op& op) const;
  void forward_again(const Segment& segment, std::vector<Kept>& kept);

  // The buffer of op.output: its input's where that may be overwritten, else a fresh one.
  BufferId output(const Op& op, bool in_place);
  bool may_overwrite(ValueId value) const;

  // Gradients of values. A buffer may stand for the gradient of several of them until one has to change it.
  bool overwritable(BufferId gradient) const { return holders_[gradient] == 0; }
  BufferId fresh_gradient(ValueId value);
  void give(ValueId value, BufferId gradient);

  // Where a parameter's gradient goes, and what becomes of it.
  BufferId gradient_target(ParameterId parameter);
  void small_gradient_done(ParameterId parameter, BufferId gradient);
  void update(ParameterId parameter, BufferId gradient);

  const Graph& graph_;
  const std::vector<bool>& trained_;
  const ProgramOptions& options_;
  const LocalOptimizer optimizer_;
  Program& program_;
  Tape& tape_;
  Emitter emit_;
  Program::Pass* const pass_;

  std::vector<std::uint32_t> consumers_;  // of each value
  std::vector<std::size_t> makers_;       // of each value but the input: the operation, by index
  std::vector<bool> made_again_;          // of each value, in the backward pass
  std::vector<bool> needs_gradient_;      // of each value: something trained lies below it
  bool keeping_ = true;                   // does the forward pass that is emitted keep what backward needs?
  std::vector<BufferId> values_;
  std::vector<bool> owns_buffer_;  // of each value: nobody else reads what its buffer holds
  std::vector<std::optional<BufferId>> gradients_;
  std::vector<std::uint32_t> holders_;  // by buffer: values whose gradient it is
  std::vector<std::optional<BufferId>> optimizer_states_, accumulators_;
};

}  // namespace shoal::client::training::engine
