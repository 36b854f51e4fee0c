#include "client/training/engine/compiler.h"

#include <limits>
#include <string>

namespace shoal::client::training::engine {

Compiler::Compiler(const Graph& graph, const std::vector<bool>& trained, const ProgramOptions& options,
                   Program& program)
    : graph_(graph),
      trained_(trained),
      options_(options),
      optimizer_(options.spec, options.moments),
      program_(program),
      tape_(program.tape_),
      emit_{program.tape_, std::make_shared<OneDnn>()},
      pass_(program.pass_.get()),
      consumers_(graph.values.size()),
      makers_(graph.values.size()),
      made_again_(graph.values.size()),
      needs_gradient_(graph.values.size()),
      values_(graph.values.size()),
      owns_buffer_(graph.values.size(), true),
      gradients_(graph.values.size()),
      optimizer_states_(graph.parameters.size()),
      accumulators_(graph.parameters.size()) {
  for (std::size_t i = 0; i < graph.ops.size(); ++i) {
    const Op& op = graph.ops[i];
    makers_[op.output] = i;
    for (const ValueId value : op.inputs) {
      ++consumers_[value];
      if (options.train && needs_gradient_[value]) needs_gradient_[op.output] = true;
    }
    if (options.train && (trains(op.weight) || trains(op.bias))) needs_gradient_[op.output] = true;
  }
  ++consumers_[graph.output];  // the loss
  owns_buffer_[0] = false;     // whoever fills it is told where it is
}

void Compiler::run() {
  place_state();
  std::vector<Kept> kept(graph_.ops.size());
  const std::vector<Segment> again = segments();
  // What enters a segment is read twice. Values are numbered as they are made.
  for (const Segment& segment : again)
    for (std::size_t i = segment.first; i < segment.end; ++i)
      for (const ValueId value : graph_.ops[i].inputs)
        if (value < graph_.ops[segment.first].output) ++consumers_[value];
  auto next = again.begin();
  for (std::size_t i = 0; i < graph_.ops.size(); ++i) {
    if (next != again.end() && i >= next->end) ++next;
    keeping_ = next == again.end() || i < next->first;
    forward(graph_.ops[i], kept[i]);
  }
  keeping_ = true;
  loss();
  auto last = again.rbegin();
  for (std::size_t i = graph_.ops.size(); i-- > 0;) {
    if (last != again.rend() && i + 1 == last->end) forward_again(*last++, kept);
    make_input_again(graph_.ops[i], kept);
    backward(graph_.ops[i], kept[i]);
  }
  program_.pass_end_ = tape_.instructions().size();
  finish_step();
}

// ---- shapes ----

std::string Compiler::name_of_op(const Op& op) const {
  if (!op.weight) return std::string(name_of(op.kind)) + " " + std::to_string(op.output);
  const std::string& weight = graph_.parameters[*op.weight].spec.name;
  return weight.substr(0, weight.rfind('.'));
}

std::uint32_t Compiler::channels(ValueId value) const {
  const Shape& shape = graph_.shape(value);
  return shape.size() == 2 ? shape[1] : shape[0];
}

bool Compiler::is_product(const Op& op) const {
  return op.kind == OpKind::kLinear ||
         (op.kind == OpKind::kConv2d && op.kernel == 1 && op.stride == 1 && op.padding == 0 && op.groups == 1);
}

bool Compiler::is_depthwise(const Op& op) const {
  const std::uint32_t channels = graph_.shape(op.inputs[0])[0];
  return op.kind == OpKind::kConv2d && op.groups == channels && graph_.shape(op.output)[0] == channels &&
         kernels::has_depthwise_gradient(op.kernel);
}

LinearShape Compiler::product_shape(const Op& op) const {
  return {static_cast<std::int64_t>(options_.examples * pixels(op.output)), channels(op.inputs[0]),
          channels(op.output)};
}

ConvolutionShape Compiler::convolution_shape(const Op& op) const {
  const Shape& in = graph_.shape(op.inputs[0]);
  const Shape& out = graph_.shape(op.output);
  return {options_.examples, in[1], in[2], in[0], out[1], out[2], out[0], op.kernel, op.stride, op.padding, op.groups};
}

kernels::NormShape Compiler::norm_shape(const Op& op) const {
  const Shape& in = graph_.shape(op.inputs[0]);
  return {options_.examples, std::size_t{in[1]} * in[2], in[0], op.groups};
}

kernels::PoolShape Compiler::pool_shape(const Op& op) const {
  const Shape& in = graph_.shape(op.inputs[0]);
  const Shape& out = graph_.shape(op.output);
  return {options_.examples, in[1], in[2], in[0], op.kernel, op.stride, out[1], out[2]};
}

// ---- buffers that live from step to step ----

void Compiler::place_state() {
  std::uint64_t offset = 0;
  for (ParameterId p = 0; p < graph_.parameters.size(); ++p) {
    const TensorSpec& spec = graph_.parameters[p].spec;
    Program::Stored& stored = program_.parameters_[p];
    stored.offset = offset;
    stored.count = graph_.parameters[p].count();
    stored.rows = spec.shape.empty() ? 1 : spec.shape[0];
    offset += stored.count;
    const bool trained = options_.train && trained_[p];
    if (options_.frozen == FrozenWeights::kInt8 && !trained && spec.shape.size() > 1) {
      stored.values = tape_.buffer(spec.name, stored.count, Life::kKept);
      stored.scales = tape_.floats(spec.name + " scales", stored.rows, Life::kKept);
      program_.state_.frozen += stored.count + stored.rows * sizeof(float);
    } else {
      stored.values = tape_.floats(spec.name, stored.count, Life::kKept);
      (trained ? program_.state_.trained : program_.state_.frozen) += stored.count * sizeof(float);
    }
    if (!trained) continue;
    if (const std::size_t bytes = optimizer_.state_bytes(stored.count); bytes > 0)
      optimizer_states_[p] = tape_.buffer(spec.name + " moments", bytes, Life::kKept);
    if (options_.accumulate) accumulators_[p] = tape_.floats(spec.name + " gradient", stored.count, Life::kKept);
    program_.state_.moments += optimizer_.state_bytes(stored.count);
    program_.state_.gradients += options_.accumulate ? stored.count * sizeof(float) : 0;
    for (const auto& state : {optimizer_states_[p], accumulators_[p]})
      if (state) program_.zeroed_.push_back(*state);
  }
  program_.examples_ = options_.examples;
  program_.example_size_ = graph_.count(0);
  values_[0] = program_.input_ = tape_.floats("examples", options_.examples * graph_.count(0), Life::kInput);
  program_.labels_ = tape_.buffer("labels", options_.examples * sizeof(std::uint32_t), Life::kInput);
}

// Some rows of a weight as floats, for the instruction that follows.
BufferId Compiler::weight_rows(ParameterId p, std::size_t first, std::size_t rows) {
  const Program::Stored& stored = program_.parameters_[p];
  if (!stored.scales) return stored.values;
  const std::string& name = graph_.parameters[p].spec.name;
  const std::size_t columns = stored.count / stored.rows;
  const BufferId values = tape_.floats(name + " values", rows * columns);
  tape_.add(name + " dequantize", {stored.values, *stored.scales, values}, [=](const Addresses& at) -> Kernel {
    return [=, from = at.of<std::int8_t>(stored.values) + first * columns, scales = at.floats(*stored.scales) + first,
            to = at.floats(values)] { kernels::dequantize_rows(from, scales, rows, columns, to); };
  });
  return values;
}

BufferId Compiler::part_of_weight(const Op& op, const LinearShape& part) {
  return weight_rows(*op.weight, static_cast<std::size_t>(part.first), static_cast<std::size_t>(part.out));
}

BufferId Compiler::weight_values(ParameterId p) { return weight_rows(p, 0, program_.parameters_[p].rows); }

// A quantized weight of a matrix product is used some rows at a time, so that little of it is ever in float32.
std::vector<LinearShape> Compiler::product_parts(const Op& op) const {
  constexpr std::int64_t kFloatsAtOnce = 1 << 16;
  const LinearShape all = product_shape(op);
  if (!program_.parameters_[*op.weight].scales || all.in * all.out <= kFloatsAtOnce) return {all};
  const std::int64_t rows = std::max<std::int64_t>(16, kFloatsAtOnce / all.in / 16 * 16);
  std::vector<LinearShape> parts;
  for (std::int64_t first = 0; first < all.out; first += rows)
    parts.push_back({all.rows, all.in, std::min(rows, all.out - first), first, all.out});
  return parts;
}

// ---- forward ----

bool Compiler::keeps_input(const Op& op) const {
  if (!options_.train || !keeping_) return false;
  const bool passes = needs_gradient_[op.inputs[0]];
  switch (op.kind) {
    case OpKind::kGroupNorm: return trains(op.weight) || (passes && options_.norm_gradient == NormGradient::kExact);
    case OpKind::kLayerNorm: return trains(op.weight) || passes;
    case OpKind::kGelu:
    case OpKind::kAttention: return passes;
    case OpKind::kPosition: return false;
    default: return trains(op.weight);
  }
}

bool Compiler::may_overwrite(ValueId value) const { return owns_buffer_[value] && consumers_[value] == 1; }

BufferId Compiler::output(const Op& op, bool in_place) {
  if (in_place && may_overwrite(op.inputs[0])) return values_[op.inputs[0]];
  return tape_.floats(name_of_op(op), options_.examples * graph_.count(op.output));
}

void Compiler::forward(const Op& op, Kept& kept) {
  const BufferId x = values_[op.inputs[0]];
  const std::size_t n = options_.examples * graph_.count(op.output);
  switch (op.kind) {
    case OpKind::kLinear:
    case OpKind::kConv2d: {
      const BufferId y = values_[op.output] = output(op, false);
      std::optional<BufferId> bias;
      if (op.bias) bias = program_.parameters_[*op.bias].values;
      if (!is_product(op))
        return convolution(emit_, name_of_op(op), convolution_shape(op), x, weight_values(*op.weight), bias, y);
      for (const LinearShape& part : product_parts(op))
        linear(emit_, name_of_op(op), part, x, part_of_weight(op, part), bias, y);
      return;
    }
    case OpKind::kGroupNorm: return forward_norm(op, kept);
    case OpKind::kRelu:
    case OpKind::kRelu6: {
      const float cap = op.kind == OpKind::kRelu6 ? 6.0f : std::numeric_limits<float>::infinity();
      const BufferId y = values_[op.output] = output(op, true);
      if (!keeping_ || !needs_gradient_[op.inputs[0]]) {
        return tape_.add(name_of_op(op), {x, y}, [=](const Addresses& at) -> Kernel {
          return [=, from = at.floats(x), to = at.floats(y)] { kernels::relu(from, to, nullptr, n, cap); };
        });
      }
      const BufferId mask = kept.mask = tape_.buffer(name_of_op(op) + " mask", (n + 7) / 8);
      return tape_.add(name_of_op(op), {x, y, mask}, [=](const Addresses& at) -> Kernel {
        return [from = at.floats(x), to = at.floats(y), bits = at.of<std::uint8_t>(mask), n, cap] {
          kernels::relu(from, to, bits, n, cap);
        };
      });
    }
    case OpKind::kAdd: {
      BufferId other = values_[op.inputs[1]];
      BufferId y = x;
      if (may_overwrite(op.inputs[0]) && op.inputs[0] != op.inputs[1]) {
        values_[op.output] = y;
      } else if (may_overwrite(op.inputs[1])) {
        values_[op.output] = y = other;
        other = x;
      } else {
        y = values_[op.output] = output(op, false);
        tape_.add(name_of_op(op) + " copy", {x, y}, [=](const Addresses& at) -> Kernel {
          return [from = at.floats(x), to = at.floats(y), n] { std::copy_n(from, n, to); };
        });
      }
      return tape_.add(name_of_op(op), {other, y}, [=](const Addresses& at) -> Kernel {
        return [from = at.floats(other), to = at.floats(y), n] { kernels::add(from, to, n); };
      });
    }
    case OpKind::kMaxPool:
    case OpKind::kAveragePool:
    case OpKind::kUpsample:
    case OpKind::kGlobalAverage: return forward_pool(op, kept);
    case OpKind::kFlatten: return forward_flatten(op);
    case OpKind::kEmbedding:
    case OpKind::kTokens:
    case OpKind::kPosition:
    case OpKind::kLayerNorm:
    case OpKind::kGelu:
    case OpKind::kAttention:
    case OpKind::kLastToken: return forward_tokens(op, kept);
  }
}

void Compiler::forward_norm(const Op& op, Kept& kept) {
  const kernels::NormShape shape = norm_shape(op);
  const BufferId x = values_[op.inputs[0]];
  const BufferId y = values_[op.output] = output(op, !keeps_input(op));
  const BufferId scale = program_.parameters_[*op.weight].values, shift = program_.parameters_[*op.bias].values;
  const std::string name = name_of_op(op);
  kept.mean = tape_.floats(name + " mean", shape.examples * shape.groups);
  kept.rstd = tape_.floats(name + " rstd", shape.examples * shape.groups);
  const BufferId scratch = tape_.floats(name + " scratch", 3 * shape.channels);
  tape_.add(name, {x, y, scale, shift, kept.mean, kept.rstd, scratch},
            [=, mean = kept.mean, rstd = kept.rstd](const Addresses& at) -> Kernel {
              return [=, from = at.floats(x), to = at.floats(y), a = at.floats(scale), b = at.floats(shift),
                      m = at.floats(mean), r = at.floats(rstd),
                      s = at.floats(scratch)] { kernels::group_norm(from, a, b, shape, kNormEpsilon, to, m, r, s); };
            });
}

void Compiler::forward_pool(const Op& op, Kept& kept) {
  const BufferId x = values_[op.inputs[0]];
  const BufferId y = values_[op.output] = output(op, false);
  const std::string name = name_of_op(op);
  if (op.kind == OpKind::kGlobalAverage) {
    const std::size_t examples = options_.examples, rows = pixels(op.inputs[0]), columns = channels(op.inputs[0]);
    return tape_.add(name, {x, y}, [=](const Addresses& at) -> Kernel {
      return
          [=, from = at.floats(x), to = at.floats(y)] { kernels::global_average(from, examples, rows, columns, to); };
    });
  }
  const kernels::PoolShape shape = pool_shape(op);
  if (op.kind == OpKind::kUpsample)
    return tape_.add(name, {x, y}, [=](const Addresses& at) -> Kernel {
      return [=, from = at.floats(x), to = at.floats(y)] { kernels::upsample(from, shape, to); };
    });
  if (op.kind == OpKind::kAveragePool)
    return tape_.add(name, {x, y}, [=](const Addresses& at) -> Kernel {
      return [=, from = at.floats(x), to = at.floats(y)] { kernels::average_pool(from, shape, to); };
    });
  if (!keeping_ || !needs_gradient_[op.inputs[0]])
    return tape_.add(name, {x, y}, [=](const Addresses& at) -> Kernel {
      return [=, from = at.floats(x), to = at.floats(y)] { kernels::max_pool(from, shape, to, nullptr); };
    });
  const BufferId chosen = kept.chosen = tape_.buffer(name + " places", options_.examples * graph_.count(op.output));
  tape_.add(name, {x, y, chosen}, [=](const Addresses& at) -> Kernel {
    return [=, from = at.floats(x), to = at.floats(y), places = at.of<std::uint8_t>(chosen)] {
      kernels::max_pool(from, shape, to, places);
    };
  });
}

// The rows of a linear layer's weight are in the order of channels first; tokens lie as they are counted.
void Compiler::forward_flatten(const Op& op) {
  const BufferId x = values_[op.inputs[0]];
  const Shape& in = graph_.shape(op.inputs[0]);
  const std::size_t channels = in[0], pixels = in.size() == 3 ? std::size_t{in[1]} * in[2] : 1;
  if (channels == 1 || pixels == 1 || op.kind == OpKind::kTokens) {
    values_[op.output] = x;
    owns_buffer_[op.output] = may_overwrite(op.inputs[0]);
    return;
  }
  const BufferId y = values_[op.output] = output(op, false);
  const std::size_t examples = options_.examples;
  tape_.add(name_of_op(op), {x, y}, [=](const Addresses& at) -> Kernel {
    return [=, from = at.floats(x), to = at.floats(y)] { kernels::transpose(from, examples, pixels, channels, to); };
  });
}

// ---- rematerialization ----

void Compiler::make_input_again(const Op& op, std::vector<Kept>& kept) {
  const ValueId value = op.inputs[0];
  if (!gradients_[op.output] || !trains(op.weight) || !keeps_input(op) || value == 0 || made_again_[value]) return;
  const std::size_t maker = makers_[value];
  const OpKind kind = graph_.ops[maker].kind;
  if ((kind != OpKind::kLayerNorm && kind != OpKind::kGelu) || !keeps_input(graph_.ops[maker])) return;
  made_again_[value] = true;
  forward(graph_.ops[maker], kept[maker]);
}

// Spans below everything that is trained keep nothing anyway.
std::vector<Compiler::Segment> Compiler::segments() const {
  std::vector<Segment> found;
  for (const LayerSpan& span : options_.rematerialize) {
    Segment segment{0, 0};
    for (std::size_t i = 0; i < graph_.ops.size(); ++i) {
      if (graph_.ops[i].layer < span.first) segment.first = i + 1;
      if (graph_.ops[i].layer < span.end) segment.end = i + 1;
    }
    if (segment.first < segment.end && needs_gradient_[graph_.ops[segment.end - 1].output]) found.push_back(segment);
  }
  return found;
}

bool Compiler::produces_kept(const Op& op) const {
  const bool passes = needs_gradient_[op.inputs[0]];
  switch (op.kind) {
    case OpKind::kGroupNorm:
    case OpKind::kLayerNorm: return passes || trains(op.weight);
    case OpKind::kRelu:
    case OpKind::kRelu6:
    case OpKind::kAttention:
    case OpKind::kMaxPool: return passes;
    default: return false;
  }
}

// Emits those operations once more whose results the backward pass over the segment reads.
void Compiler::forward_again(const Segment& segment, std::vector<Kept>& kept) {
  std::vector<bool> read(graph_.values.size()), wanted(graph_.ops.size());
  for (std::size_t i = segment.end; i-- > segment.first;) {
    const Op& op = graph_.ops[i];
    wanted[i] = read[op.output] || produces_kept(op);
    if (keeps_input(op)) read[op.inputs[0]] = true;
    if (!wanted[i]) continue;
    for (const ValueId value : op.inputs) read[value] = true;
  }
  for (std::size_t i = segment.first; i < segment.end; ++i)
    if (wanted[i]) forward(graph_.ops[i], kept[i]);
}

// ---- loss ----

// The gradient of the logits takes their place.
void Compiler::loss() {
  const BufferId logits = values_[graph_.output], labels = program_.labels_;
  const std::size_t rows = options_.examples, classes = graph_.count(graph_.output);
  tape_.add("loss", {logits, labels}, [=, pass = pass_, train = options_.train](const Addresses& at) -> Kernel {
    return [=, values = at.floats(logits), wanted = at.of<std::uint32_t>(labels)] {
      pass->scores = kernels::cross_entropy(values, wanted, pass->examples, rows, classes, train ? pass->share : 0.0f);
    };
  });
  if (needs_gradient_[graph_.output]) give(graph_.output, logits);
}

// ---- updates ----

BufferId Compiler::gradient_target(ParameterId p) {
  if (accumulators_[p]) return *accumulators_[p];
  return tape_.buffer(graph_.parameters[p].spec.name + " gradient", program_.parameters_[p].count * sizeof(float));
}

// For gradients of a vector: those of an accumulated step are added up here, not by the kernel that makes them.
void Compiler::small_gradient_done(ParameterId p, BufferId gradient) {
  if (!accumulators_[p]) return update(p, gradient);
  const BufferId sum = *accumulators_[p];
  const std::size_t n = tape_.buffers()[sum].bytes / sizeof(float);
  tape_.add(graph_.parameters[p].spec.name + " accumulate", {gradient, sum}, [=](const Addresses& at) -> Kernel {
    return [=, from = at.floats(gradient), to = at.floats(sum)] { kernels::add(from, to, n); };
  });
}

void Compiler::update(ParameterId p, BufferId gradient) {
  const BufferId weights = program_.parameters_[p].values;
  const std::size_t n = program_.parameters_[p].count;
  std::vector<BufferId> uses{weights, gradient};
  if (optimizer_states_[p]) uses.push_back(*optimizer_states_[p]);
  tape_.add(graph_.parameters[p].spec.name + " update", uses,
            [=, optimizer = optimizer_, pass = pass_, state = optimizer_states_[p],
             offset = program_.parameters_[p].offset](const Addresses& at) -> Kernel {
              return
                  [=, w = at.floats(weights), g = at.floats(gradient), s = state ? at.of<std::byte>(*state) : nullptr] {
                    optimizer.apply(w, g, pass->model + offset, s, n, pass->step);
                  };
            });
}

void Compiler::finish_step() {
  for (ParameterId p = 0; p < graph_.parameters.size(); ++p) {
    if (!accumulators_[p]) continue;
    update(p, *accumulators_[p]);
    tape_.add(
        graph_.parameters[p].spec.name + " clear", {*accumulators_[p]},
        [sum = *accumulators_[p], bytes = tape_.buffers()[*accumulators_[p]].bytes](const Addresses& at) -> Kernel {
          return [to = at.floats(sum), bytes] { std::fill_n(to, bytes / sizeof(float), 0.0f); };
        });
  }
}

}  // namespace shoal::client::training::engine
