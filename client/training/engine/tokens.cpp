// The compiler's part for sequences, forward and backward.
#include "client/training/engine/compiler.h"

namespace shoal::client::training::engine {

kernels::AttentionShape Compiler::attention_shape(const Op& op) const {
  const Shape& out = graph_.shape(op.output);
  return {options_.examples, out[0], op.heads, out[1], op.causal};
}

// ---- forward ----

void Compiler::forward_tokens(const Op& op, Kept& kept) {
  if (op.kind == OpKind::kTokens) return forward_flatten(op);
  if (op.kind == OpKind::kLayerNorm) return forward_layer_norm(op, kept);
  const BufferId x = values_[op.inputs[0]];
  const bool in_place = op.kind == OpKind::kPosition || (op.kind == OpKind::kGelu && !keeps_input(op));
  const BufferId y = values_[op.output] = output(op, in_place);
  const std::string name = name_of_op(op);
  const std::size_t examples = options_.examples, tokens = graph_.shape(op.inputs[0])[0],
                    size = graph_.count(op.output), features = channels(op.output);
  if (op.kind == OpKind::kGelu) return gelu(emit_, name, examples * size, x, y);
  if (op.kind == OpKind::kAttention) {
    const kernels::AttentionShape shape = attention_shape(op);
    const BufferId log_sums = kept.log_sums = tape_.floats(name + " log sums", examples * shape.heads * tokens);
    const BufferId scratch = tape_.floats(name + " scores", tokens * tokens);
    return tape_.add(name, {x, y, log_sums, scratch}, [=](const Addresses& at) -> Kernel {
      return [=, from = at.floats(x), to = at.floats(y), logs = at.floats(log_sums), s = at.floats(scratch)] {
        kernels::attention(from, shape, to, logs, s);
      };
    });
  }
  if (op.kind == OpKind::kLastToken)
    return tape_.add(name, {x, y}, [=](const Addresses& at) -> Kernel {
      return [=, from = at.floats(x), to = at.floats(y)] { kernels::last_token(from, examples, tokens, features, to); };
    });
  const BufferId table = weight_values(*op.weight);
  if (op.kind == OpKind::kPosition)
    return tape_.add(name, {x, table, y}, [=](const Addresses& at) -> Kernel {
      return [=, from = at.floats(x), rows = at.floats(table), to = at.floats(y)] {
        kernels::add_position(from, rows, examples, size, to);
      };
    });
  const std::size_t vocabulary = program_.parameters_[*op.weight].rows;
  tape_.add(name, {x, table, y}, [=](const Addresses& at) -> Kernel {
    return [=, ids = at.floats(x), rows = at.floats(table), to = at.floats(y)] {
      kernels::embedding(ids, rows, examples * tokens, vocabulary, features, to);
    };
  });
}

void Compiler::forward_layer_norm(const Op& op, Kept& kept) {
  const BufferId x = values_[op.inputs[0]];
  const BufferId y = values_[op.output] = output(op, !keeps_input(op));
  const BufferId scale = program_.parameters_[*op.weight].values, shift = program_.parameters_[*op.bias].values;
  const std::string name = name_of_op(op);
  const std::size_t rows = options_.examples * pixels(op.output), features = channels(op.output);
  kept.mean = tape_.floats(name + " mean", rows);
  kept.rstd = tape_.floats(name + " rstd", rows);
  tape_.add(name, {x, y, scale, shift, kept.mean, kept.rstd},
            [=, mean = kept.mean, rstd = kept.rstd](const Addresses& at) -> Kernel {
              return [=, from = at.floats(x), to = at.floats(y), a = at.floats(scale), b = at.floats(shift),
                      m = at.floats(mean),
                      r = at.floats(rstd)] { kernels::layer_norm(from, a, b, rows, features, kNormEpsilon, to, m, r); };
            });
}

// ---- backward ----

void Compiler::backward_tokens(const Op& op, const Kept& kept, BufferId gy) {
  if (op.kind == OpKind::kLayerNorm) return backward_layer_norm(op, kept, gy);
  if (trains(op.weight)) backward_table(op, gy);
  const ValueId input = op.inputs[0];
  if (!needs_gradient_[input]) return;
  if (op.kind == OpKind::kPosition) return give(input, gy);
  const BufferId x = values_[input];
  const std::string name = name_of_op(op) + " gradient";
  const std::size_t examples = options_.examples, tokens = graph_.shape(input)[0], features = channels(op.output);
  const BufferId gx = op.kind == OpKind::kGelu && overwritable(gy) ? gy : fresh_gradient(input);
  if (op.kind == OpKind::kGelu) {
    gelu_gradient(emit_, name, examples * graph_.count(input), gy, x, gx);
  } else if (op.kind == OpKind::kLastToken) {
    tape_.add(name, {gy, gx}, [=](const Addresses& at) -> Kernel {
      return [=, from = at.floats(gy), to = at.floats(gx)] {
        kernels::last_token_gradient(from, examples, tokens, features, to);
      };
    });
  } else {
    const BufferId scratch = tape_.floats(name + " scores", 2 * tokens * tokens);
    tape_.add(name, {gy, x, kept.log_sums, gx, scratch},
              [=, shape = attention_shape(op), log_sums = kept.log_sums](const Addresses& at) -> Kernel {
                return [=, from = at.floats(gy), in = at.floats(x), logs = at.floats(log_sums), to = at.floats(gx),
                        s = at.floats(scratch)] { kernels::attention_gradient(from, in, logs, shape, to, s); };
              });
  }
  give(input, gx);
}

void Compiler::backward_layer_norm(const Op& op, const Kept& kept, BufferId gy) {
  const std::size_t rows = options_.examples * pixels(op.output), features = channels(op.output);
  const std::string name = name_of_op(op);
  const BufferId x = values_[op.inputs[0]], scale = program_.parameters_[*op.weight].values;
  const BufferId scratch = tape_.floats(name + " gradient scratch", 2 * features);
  const auto wanted = [&](bool is, const char* what) {
    return is ? std::optional(tape_.floats(name + what, features)) : std::nullopt;
  };
  const auto g_scale = wanted(trains(op.weight), " scale gradient"),
             g_shift = wanted(trains(op.bias), " shift gradient");
  std::optional<BufferId> gx;
  if (needs_gradient_[op.inputs[0]]) gx = overwritable(gy) ? gy : fresh_gradient(op.inputs[0]);
  if (keeps_input(op)) {
    std::vector<BufferId> uses{gy, x, scale, kept.mean, kept.rstd, scratch};
    for (const auto& b : {g_scale, g_shift, gx})
      if (b) uses.push_back(*b);
    const auto or_null = [](const Addresses& at, std::optional<BufferId> b) { return b ? at.floats(*b) : nullptr; };
    tape_.add(name + " gradient", uses, [=](const Addresses& at) -> Kernel {
      return [=, from = at.floats(gy), in = at.floats(x), a = at.floats(scale), m = at.floats(kept.mean),
              r = at.floats(kept.rstd), s = at.floats(scratch), to = or_null(at, gx), ga = or_null(at, g_scale),
              gb = or_null(at, g_shift)] {
        kernels::layer_norm_gradient(from, in, a, m, r, rows, features, to, ga, gb, s);
      };
    });
  } else if (g_shift) {
    tape_.add(name + " shift gradient", {gy, *g_shift}, [=, to = *g_shift](const Addresses& at) -> Kernel {
      return [=, from = at.floats(gy), sums = at.floats(to)] { kernels::column_sums(from, rows, features, sums); };
    });
  }
  if (gx) give(op.inputs[0], *gx);
  if (g_scale) small_gradient_done(*op.weight, *g_scale);
  if (g_shift) small_gradient_done(*op.bias, *g_shift);
}

// Of an embedding or of positions.
void Compiler::backward_table(const Op& op, BufferId gy) {
  const std::size_t examples = options_.examples, size = graph_.count(op.output), features = channels(op.output);
  const std::string name = name_of_op(op) + " weight gradient";
  if (op.kind == OpKind::kPosition) {
    const BufferId gradient = tape_.floats(name, size);
    tape_.add(name, {gy, gradient}, [=](const Addresses& at) -> Kernel {
      return [=, from = at.floats(gy), to = at.floats(gradient)] { kernels::column_sums(from, examples, size, to); };
    });
    return small_gradient_done(*op.weight, gradient);
  }
  const BufferId ids = values_[op.inputs[0]], gradient = gradient_target(*op.weight);
  const std::size_t vocabulary = program_.parameters_[*op.weight].rows;
  tape_.add(name, {gy, ids, gradient}, [=, add = options_.accumulate](const Addresses& at) -> Kernel {
    return [=, from = at.floats(gy), rows = at.floats(ids), to = at.floats(gradient)] {
      kernels::embedding_gradient(from, rows, examples * size / features, vocabulary, features, to, add);
    };
  });
  if (!options_.accumulate) update(*op.weight, gradient);
}

}  // namespace shoal::client::training::engine
