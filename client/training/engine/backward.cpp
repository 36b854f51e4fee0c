// The backward half of the compiler.
#include <algorithm>

#include "client/training/engine/compiler.h"

namespace shoal::client::training::engine {

BufferId Compiler::fresh_gradient(ValueId value) {
  const BufferId buffer = tape_.floats("gradient " + std::to_string(value), options_.examples * graph_.count(value));
  holders_.resize(tape_.buffers().size());
  return buffer;
}

// `gradient` is one more contribution to that of `value`.
void Compiler::give(ValueId value, BufferId gradient) {
  holders_.resize(tape_.buffers().size());
  if (!gradients_[value]) {
    gradients_[value] = gradient;
    ++holders_[gradient];
    return;
  }
  BufferId sum = gradient, other = *gradients_[value];
  --holders_[other];
  if (!overwritable(sum)) std::swap(sum, other);
  const std::size_t n = options_.examples * graph_.count(value);
  if (!overwritable(sum) || sum == other) {
    const BufferId copy = fresh_gradient(value);
    tape_.add("copy of gradient " + std::to_string(value), {sum, copy}, [=](const Addresses& at) -> Kernel {
      return [from = at.floats(sum), to = at.floats(copy), n] { std::copy_n(from, n, to); };
    });
    sum = copy;
  }
  tape_.add("sum of gradient " + std::to_string(value), {other, sum}, [=](const Addresses& at) -> Kernel {
    return [from = at.floats(other), to = at.floats(sum), n] { kernels::add(from, to, n); };
  });
  gradients_[value] = sum;
  ++holders_[sum];
}

void Compiler::backward(const Op& op, const Kept& kept) {
  if (!gradients_[op.output]) return;
  const BufferId gy = *gradients_[op.output];
  --holders_[gy];
  switch (op.kind) {
    case OpKind::kLinear:
    case OpKind::kConv2d: return backward_dense(op, gy);
    case OpKind::kGroupNorm: return backward_norm(op, kept, gy);
    case OpKind::kRelu:
    case OpKind::kRelu6:
    case OpKind::kAdd: return backward_elementwise(op, kept, gy);
    case OpKind::kMaxPool:
    case OpKind::kAveragePool:
    case OpKind::kUpsample:
    case OpKind::kGlobalAverage:
    case OpKind::kTokens:
    case OpKind::kFlatten: return backward_reshaping(op, kept, gy);
    case OpKind::kEmbedding:
    case OpKind::kPosition:
    case OpKind::kLayerNorm:
    case OpKind::kGelu:
    case OpKind::kAttention:
    case OpKind::kLastToken: return backward_tokens(op, kept, gy);
  }
}

void Compiler::backward_dense(const Op& op, BufferId gy) {
  const std::string name = name_of_op(op);
  const bool product = is_product(op);
  if (trains(op.bias)) {
    const std::size_t columns = channels(op.output), rows = options_.examples * pixels(op.output);
    const BufferId gradient = tape_.floats(name + " bias gradient", columns);
    tape_.add(name + " bias gradient", {gy, gradient}, [=](const Addresses& at) -> Kernel {
      return [=, from = at.floats(gy), to = at.floats(gradient)] { kernels::column_sums(from, rows, columns, to); };
    });
    small_gradient_done(*op.bias, gradient);
  }
  const BufferId x = values_[op.inputs[0]];
  const auto input_gradient = [&] {
    if (!needs_gradient_[op.inputs[0]]) return;
    const BufferId gx = fresh_gradient(op.inputs[0]);
    if (product)
      for (const LinearShape& part : product_parts(op))
        linear_input_gradient(emit_, name + " input gradient", part, gy, part_of_weight(op, part), gx, part.first > 0);
    else
      convolution_input_gradient(emit_, name + " input gradient", convolution_shape(op), gy, weight_values(*op.weight),
                                 gx);
    give(op.inputs[0], gx);
  };
  if (!trains(op.weight)) return input_gradient();
  const std::string what = name + " weight gradient";
  if (product && optimizer_.plain() && !options_.accumulate) {
    input_gradient();  // from the weight before the step
    return linear_weight_gradient(emit_, name + " step", product_shape(op), gy, x,
                                  program_.parameters_[*op.weight].values, -optimizer_.rate(), true);
  }
  if (is_depthwise(op)) {
    const BufferId gradient = tape_.floats(what, program_.parameters_[*op.weight].count);
    const ConvolutionShape c = convolution_shape(op);
    const auto size = [](std::int64_t extent) { return static_cast<std::size_t>(extent); };
    const kernels::DepthwiseShape shape{options_.examples, size(c.height),     size(c.width),
                                        size(c.in),        size(c.out_height), size(c.out_width),
                                        size(c.kernel),    size(c.stride),     size(c.padding)};
    tape_.add(what, {gy, x, gradient}, [=](const Addresses& at) -> Kernel {
      return [=, from = at.floats(gy), in = at.floats(x), to = at.floats(gradient)] {
        kernels::depthwise_gradient(from, in, shape, to);
      };
    });
    input_gradient();
    return small_gradient_done(*op.weight, gradient);
  }
  const BufferId gradient = gradient_target(*op.weight);
  const auto weight_gradient = [&] {
    if (product)
      linear_weight_gradient(emit_, what, product_shape(op), gy, x, gradient, 1, options_.accumulate);
    else
      convolution_weight_gradient(emit_, what, convolution_shape(op), gy, x, gradient, options_.accumulate);
  };
  // Whichever of the layer's input and its weight's gradient is the smaller waits for the other.
  const bool weight_first = tape_.buffers()[gradient].bytes <= tape_.buffers()[x].bytes;
  if (weight_first) weight_gradient();
  input_gradient();
  if (!weight_first) weight_gradient();
  if (!options_.accumulate) update(*op.weight, gradient);
}

void Compiler::backward_norm(const Op& op, const Kept& kept, BufferId gy) {
  const kernels::NormShape shape = norm_shape(op);
  const std::string name = name_of_op(op);
  const BufferId scratch = tape_.floats(name + " gradient scratch", 3 * shape.channels);
  const bool wants_input = needs_gradient_[op.inputs[0]];
  const BufferId scale = program_.parameters_[*op.weight].values;
  const auto vector = [&](bool wanted, const char* what) {
    return wanted ? std::optional(tape_.floats(name + what, shape.channels)) : std::nullopt;
  };
  const auto g_scale = vector(trains(op.weight), " scale gradient"),
             g_shift = vector(trains(op.bias), " shift gradient");
  std::optional<BufferId> gx;
  if (wants_input) gx = overwritable(gy) ? gy : fresh_gradient(op.inputs[0]);
  const auto or_null = [](const Addresses& at, std::optional<BufferId> b) { return b ? at.floats(*b) : nullptr; };
  if (keeps_input(op)) {
    const BufferId x = values_[op.inputs[0]];
    std::vector<BufferId> uses{gy, x, scale, kept.mean, kept.rstd, scratch};
    for (const auto& b : {g_scale, g_shift, gx})
      if (b) uses.push_back(*b);
    tape_.add(name + " gradient", uses, [=](const Addresses& at) -> Kernel {
      return [=, from = at.floats(gy), in = at.floats(x), a = at.floats(scale), m = at.floats(kept.mean),
              r = at.floats(kept.rstd), s = at.floats(scratch), to = or_null(at, gx), ga = or_null(at, g_scale),
              gb = or_null(at, g_shift)] { kernels::group_norm_gradient(from, in, a, m, r, shape, to, ga, gb, s); };
    });
  } else {
    if (g_shift)
      tape_.add(name + " shift gradient", {gy, *g_shift},
                [=, to = *g_shift, rows = shape.examples * shape.pixels](const Addresses& at) -> Kernel {
                  return [=, from = at.floats(gy), sums = at.floats(to)] {
                    kernels::column_sums(from, rows, shape.channels, sums);
                  };
                });
    if (gx)
      tape_.add(name + " gradient", {gy, scale, kept.rstd, scratch, *gx}, [=](const Addresses& at) -> Kernel {
        return [=, from = at.floats(gy), a = at.floats(scale), r = at.floats(kept.rstd), s = at.floats(scratch),
                to = at.floats(*gx)] { kernels::group_norm_constant_gradient(from, a, r, shape, to, s); };
      });
  }
  if (gx) give(op.inputs[0], *gx);
  if (g_scale) small_gradient_done(*op.weight, *g_scale);
  if (g_shift) small_gradient_done(*op.bias, *g_shift);
}

void Compiler::backward_elementwise(const Op& op, const Kept& kept, BufferId gy) {
  if (op.kind == OpKind::kAdd) {
    // One buffer stands for both until one of them has to change it.
    for (const ValueId value : op.inputs)
      if (needs_gradient_[value]) give(value, gy);
    return;
  }
  if (!needs_gradient_[op.inputs[0]]) return;
  const BufferId gx = overwritable(gy) ? gy : fresh_gradient(op.inputs[0]);
  const std::size_t n = options_.examples * graph_.count(op.output);
  tape_.add(name_of_op(op) + " gradient", {gy, kept.mask, gx}, [=, mask = kept.mask](const Addresses& at) -> Kernel {
    return [=, from = at.floats(gy), bits = at.of<std::uint8_t>(mask), to = at.floats(gx)] {
      kernels::relu_gradient(from, bits, to, n);
    };
  });
  give(op.inputs[0], gx);
}

void Compiler::backward_reshaping(const Op& op, const Kept& kept, BufferId gy) {
  const ValueId input = op.inputs[0];
  if (!needs_gradient_[input]) return;
  const std::size_t examples = options_.examples, columns = channels(input), rows = pixels(input);
  const bool sequence = graph_.shape(input).size() == 2;
  if (op.kind == OpKind::kTokens || (op.kind == OpKind::kFlatten && (columns == 1 || rows == 1 || sequence)))
    return give(input, gy);
  const BufferId gx = fresh_gradient(input);
  const std::string name = name_of_op(op) + " gradient";
  if (op.kind == OpKind::kFlatten) {
    tape_.add(name, {gy, gx}, [=](const Addresses& at) -> Kernel {
      return [=, from = at.floats(gy), to = at.floats(gx)] { kernels::transpose(from, examples, columns, rows, to); };
    });
  } else if (op.kind == OpKind::kGlobalAverage) {
    tape_.add(name, {gy, gx}, [=](const Addresses& at) -> Kernel {
      return [=, from = at.floats(gy), to = at.floats(gx)] {
        kernels::global_average_gradient(from, examples, rows, columns, to);
      };
    });
  } else if (op.kind == OpKind::kUpsample) {
    tape_.add(name, {gy, gx}, [=, shape = pool_shape(op)](const Addresses& at) -> Kernel {
      return [=, from = at.floats(gy), to = at.floats(gx)] { kernels::upsample_gradient(from, shape, to); };
    });
  } else if (op.kind == OpKind::kAveragePool) {
    tape_.add(name, {gy, gx}, [=, shape = pool_shape(op)](const Addresses& at) -> Kernel {
      return [=, from = at.floats(gy), to = at.floats(gx)] { kernels::average_pool_gradient(from, shape, to); };
    });
  } else {
    tape_.add(name, {gy, kept.chosen, gx},
              [=, shape = pool_shape(op), chosen = kept.chosen](const Addresses& at) -> Kernel {
                return [=, from = at.floats(gy), places = at.of<std::uint8_t>(chosen), to = at.floats(gx)] {
                  kernels::max_pool_gradient(from, places, shape, to);
                };
              });
  }
  give(input, gx);
}

}  // namespace shoal::client::training::engine
