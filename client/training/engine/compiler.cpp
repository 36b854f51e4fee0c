#include "client/training/engine/compiler.h"

#include <limits>
#include <string>

namespace shoal::client::training::engine {

Compiler::Compiler(const Graph& graph, const std::vector<bool>& trained, const ProgramOptions& options,
                   Program& program)
    : graph_(graph),
      trained_(trained),
      options_(options),
      sgd_(options.spec),
      program_(program),
      tape_(program.tape_),
      emit_{program.tape_, std::make_shared<OneDnn>()},
      pass_(program.pass_.get()),
      consumers_(graph.values.size()),
      needs_gradient_(graph.values.size()),
      values_(graph.values.size()),
      gradients_(graph.values.size()),
      velocities_(graph.parameters.size()),
      accumulators_(graph.parameters.size()) {
  for (const Op& op : graph.ops) {
    for (const ValueId value : op.inputs) {
      ++consumers_[value];
      if (options.train && needs_gradient_[value]) needs_gradient_[op.output] = true;
    }
    if (options.train && (trains(op.weight) || trains(op.bias))) needs_gradient_[op.output] = true;
  }
  ++consumers_[graph.output];  // the loss
}

void Compiler::run() {
  place_state();
  std::vector<Kept> kept(graph_.ops.size());
  for (std::size_t i = 0; i < graph_.ops.size(); ++i) forward(graph_.ops[i], kept[i]);
  loss();
  for (std::size_t i = graph_.ops.size(); i-- > 0;) backward(graph_.ops[i], kept[i]);
  program_.pass_end_ = tape_.instructions().size();
  finish_step();
}

// ---- shapes ----

std::size_t Compiler::count(ValueId value) const {
  std::size_t n = 1;
  for (const std::uint32_t extent : graph_.shape(value)) n *= extent;
  return n;
}

std::string Compiler::name_of_op(const Op& op) const {
  if (!op.weight) return std::string(name_of(op.kind)) + " " + std::to_string(op.output);
  const std::string& weight = graph_.parameters[*op.weight].spec.name;
  return weight.substr(0, weight.rfind('.'));
}

bool Compiler::is_product(const Op& op) const {
  return op.kind == OpKind::kLinear ||
         (op.kind == OpKind::kConv2d && op.kernel == 1 && op.stride == 1 && op.padding == 0 && op.groups == 1);
}

LinearShape Compiler::product_shape(const Op& op) const {
  const std::uint32_t in = graph_.shape(op.inputs[0])[0], out = graph_.shape(op.output)[0];
  return {static_cast<std::int64_t>(options_.examples * count(op.output) / out), in, out};
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
    std::size_t n = 1;
    for (const std::uint64_t extent : graph_.parameters[p].spec.shape) n *= extent;
    program_.parameters_[p] = tape_.floats(graph_.parameters[p].spec.name, n, true);
    program_.parameter_offsets_.push_back(offset);
    offset += n;
    if (!options_.train || !trained_[p]) continue;
    const std::string& name = graph_.parameters[p].spec.name;
    if (sgd_.has_momentum()) velocities_[p] = tape_.floats(name + " velocity", n, true);
    if (options_.accumulate) accumulators_[p] = tape_.floats(name + " gradient", n, true);
    for (const auto& state : {velocities_[p], accumulators_[p]})
      if (state) program_.zeroed_.push_back(*state);
  }
  program_.examples_ = options_.examples;
  program_.example_size_ = count(0);
  values_[0] = program_.input_ = tape_.floats("examples", options_.examples * count(0), true);
  program_.labels_ = tape_.buffer("labels", options_.examples * sizeof(std::uint32_t), true);
}

// ---- forward ----

bool Compiler::keeps_input(const Op& op) const {
  if (!options_.train) return false;
  if (op.kind == OpKind::kGroupNorm)
    return trains(op.weight) || (needs_gradient_[op.inputs[0]] && options_.norm_gradient == NormGradient::kExact);
  return trains(op.weight);
}

bool Compiler::may_overwrite(ValueId value) const {
  const BufferId buffer = values_[value];
  return value != 0 && consumers_[value] == 1 && buffer != program_.input_ &&
         (buffer >= shared_.size() || !shared_[buffer]);
}

BufferId Compiler::output(const Op& op, bool in_place) {
  if (in_place && may_overwrite(op.inputs[0])) return values_[op.inputs[0]];
  return tape_.floats(name_of_op(op), options_.examples * count(op.output));
}

void Compiler::forward(const Op& op, Kept& kept) {
  const BufferId x = values_[op.inputs[0]];
  const std::size_t n = options_.examples * count(op.output);
  const auto parameter = [&](std::optional<ParameterId> p) {
    return p ? std::optional(program_.parameters_[*p]) : std::nullopt;
  };
  switch (op.kind) {
    case OpKind::kLinear:
    case OpKind::kConv2d: {
      const BufferId y = values_[op.output] = output(op, false);
      if (is_product(op))
        return linear(emit_, name_of_op(op), product_shape(op), x, *parameter(op.weight), parameter(op.bias), y);
      return convolution(emit_, name_of_op(op), convolution_shape(op), x, *parameter(op.weight), parameter(op.bias), y);
    }
    case OpKind::kGroupNorm: return forward_norm(op, kept);
    case OpKind::kRelu:
    case OpKind::kRelu6: {
      const float cap = op.kind == OpKind::kRelu6 ? 6.0f : std::numeric_limits<float>::infinity();
      const BufferId y = values_[op.output] = output(op, true);
      if (!needs_gradient_[op.inputs[0]]) {
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
  }
}

void Compiler::forward_norm(const Op& op, Kept& kept) {
  const kernels::NormShape shape = norm_shape(op);
  const BufferId x = values_[op.inputs[0]];
  const BufferId y = values_[op.output] = output(op, !keeps_input(op));
  const BufferId scale = program_.parameters_[*op.weight], shift = program_.parameters_[*op.bias];
  const std::string name = name_of_op(op);
  kept.mean = tape_.floats(name + " mean", shape.examples * shape.groups);
  kept.rstd = tape_.floats(name + " rstd", shape.examples * shape.groups);
  const BufferId scratch = tape_.floats(name + " scratch", 4 * shape.channels);
  tape_.add(name, {x, y, scale, shift, kept.mean, kept.rstd, scratch},
            [=, mean = kept.mean, rstd = kept.rstd](const Addresses& at) -> Kernel {
              return [=, from = at.floats(x), to = at.floats(y), a = at.floats(scale), b = at.floats(shift),
                      m = at.floats(mean), r = at.floats(rstd), s = at.floats(scratch)] {
                kernels::group_norm(from, a, b, shape, kGroupNormEpsilon, to, m, r, s);
              };
            });
}

void Compiler::forward_pool(const Op& op, Kept& kept) {
  const BufferId x = values_[op.inputs[0]];
  const BufferId y = values_[op.output] = output(op, false);
  const std::string name = name_of_op(op);
  if (op.kind == OpKind::kGlobalAverage) {
    const Shape& in = graph_.shape(op.inputs[0]);
    const std::size_t examples = options_.examples, pixels = std::size_t{in[1]} * in[2], channels = in[0];
    return tape_.add(name, {x, y}, [=](const Addresses& at) -> Kernel {
      return [=, from = at.floats(x), to = at.floats(y)] {
        kernels::global_average(from, examples, pixels, channels, to);
      };
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
  if (!needs_gradient_[op.inputs[0]])
    return tape_.add(name, {x, y}, [=](const Addresses& at) -> Kernel {
      return [=, from = at.floats(x), to = at.floats(y)] { kernels::max_pool(from, shape, to, nullptr); };
    });
  const BufferId chosen = kept.chosen = tape_.buffer(name + " places", options_.examples * count(op.output));
  tape_.add(name, {x, y, chosen}, [=](const Addresses& at) -> Kernel {
    return [=, from = at.floats(x), to = at.floats(y), places = at.of<std::uint8_t>(chosen)] {
      kernels::max_pool(from, shape, to, places);
    };
  });
}

// The rows of a linear layer's weight are in the order of channels first.
void Compiler::forward_flatten(const Op& op) {
  const BufferId x = values_[op.inputs[0]];
  const Shape& in = graph_.shape(op.inputs[0]);
  const std::size_t channels = in[0], pixels = in.size() == 3 ? std::size_t{in[1]} * in[2] : 1;
  if (channels == 1 || pixels == 1) {
    values_[op.output] = x;
    shared_.resize(tape_.buffers().size());
    shared_[x] = shared_[x] || !may_overwrite(op.inputs[0]);
    return;
  }
  const BufferId y = values_[op.output] = output(op, false);
  const std::size_t examples = options_.examples;
  tape_.add(name_of_op(op), {x, y}, [=](const Addresses& at) -> Kernel {
    return [=, from = at.floats(x), to = at.floats(y)] { kernels::transpose(from, examples, pixels, channels, to); };
  });
}

// ---- loss ----

// The gradient of the logits takes their place.
void Compiler::loss() {
  const BufferId logits = values_[graph_.output], labels = program_.labels_;
  const std::size_t rows = options_.examples, classes = count(graph_.output);
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
  return tape_.buffer(graph_.parameters[p].spec.name + " gradient", tape_.buffers()[program_.parameters_[p]].bytes);
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
  const BufferId weights = program_.parameters_[p];
  const std::size_t n = tape_.buffers()[weights].bytes / sizeof(float);
  std::vector<BufferId> uses{weights, gradient};
  if (velocities_[p]) uses.push_back(*velocities_[p]);
  tape_.add(graph_.parameters[p].spec.name + " update", uses,
            [=, sgd = sgd_, pass = pass_, velocity = velocities_[p],
             offset = program_.parameter_offsets_[p]](const Addresses& at) -> Kernel {
              return [=, w = at.floats(weights), g = at.floats(gradient),
                      v = velocity ? at.floats(*velocity) : nullptr] { sgd.apply(w, g, pass->model + offset, v, n); };
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
