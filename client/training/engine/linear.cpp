#include "client/training/engine/kernels.h"
#include "client/training/engine/operations.h"

namespace shoal::client::training::engine {
namespace {

using Desc = dnnl::memory::desc;
constexpr auto kFloat = dnnl::memory::data_type::f32;
constexpr std::int64_t kSmall = 1 << 18;  // multiplications

Desc matrix(std::int64_t rows, std::int64_t columns, std::int64_t width) {
  return {{rows, columns}, kFloat, dnnl::memory::dims{width, 1}};
}
Desc matrix(std::int64_t rows, std::int64_t columns) {
  return {{rows, columns}, kFloat, dnnl::memory::dims{columns, 1}};
}
// The same memory read the other way.
Desc transposed(std::int64_t rows, std::int64_t columns) {
  return {{rows, columns}, kFloat, dnnl::memory::dims{1, rows}};
}

// Is what oneDNN needs to begin more than what its better blocks save?
bool is_small(const LinearShape& s) { return s.rows <= 64 && s.rows * s.in * s.out <= kSmall; }

kernels::ProductShape product(std::int64_t rows, std::int64_t columns, std::int64_t depth) {
  const auto size = [](std::int64_t extent) { return static_cast<std::size_t>(extent); };
  return {size(rows), size(columns), size(depth)};
}

std::size_t first_of(const LinearShape& s) { return static_cast<std::size_t>(s.first) * sizeof(float); }

}  // namespace

void linear(const Emitter& emit, const std::string& name, const LinearShape& s, BufferId x, BufferId weight,
            std::optional<BufferId> bias, BufferId y) {
  if (is_small(s)) {
    std::vector<BufferId> uses{x, weight, y};
    if (bias) uses.push_back(*bias);
    return emit.tape.add(name, std::move(uses), [=](const Addresses& at) -> Kernel {
      return [=, from = at.floats(x), w = at.floats(weight), shift = bias ? at.floats(*bias) + s.first : nullptr,
              to = at.floats(y) + s.first, shape = product(s.rows, s.out, s.in)] {
        kernels::small_linear(from, w, shift, shape, to, static_cast<std::size_t>(s.width()));
      };
    });
  }
  const Desc source = matrix(s.rows, s.in), weights = transposed(s.in, s.out), to = matrix(s.rows, s.out, s.width());
  std::vector<Argument> arguments{
      {DNNL_ARG_SRC, source, x}, {DNNL_ARG_WEIGHTS, weights, weight}, {DNNL_ARG_DST, to, y, first_of(s)}};
  if (bias) arguments.push_back({DNNL_ARG_BIAS, matrix(1, s.out), *bias, first_of(s)});
  const auto operation =
      bias ? dnnl::matmul::desc(source, weights, matrix(1, s.out), to) : dnnl::matmul::desc(source, weights, to);
  const dnnl::matmul::primitive_desc descriptor(operation, with_own_scratch(), emit.dnn->engine);
  add_primitive(emit.tape, emit.dnn, name, descriptor, dnnl::matmul(descriptor), std::move(arguments));
}

void linear_input_gradient(const Emitter& emit, const std::string& name, const LinearShape& s, BufferId gy,
                           BufferId weight, BufferId gx, bool add) {
  if (is_small(s))
    return emit.tape.add(name, {gy, weight, gx}, [=](const Addresses& at) -> Kernel {
      return [=, from = at.floats(gy) + s.first, w = at.floats(weight), to = at.floats(gx),
              shape = product(s.rows, s.in, s.out)] {
        kernels::small_product(from, static_cast<std::size_t>(s.width()), 1, w, shape, 1, add, to);
      };
    });
  const Desc source = matrix(s.rows, s.out, s.width()), weights = matrix(s.out, s.in), to = matrix(s.rows, s.in);
  const dnnl::matmul::primitive_desc descriptor(dnnl::matmul::desc(source, weights, to), summing(add),
                                                emit.dnn->engine);
  add_primitive(emit.tape, emit.dnn, name, descriptor, dnnl::matmul(descriptor),
                {{DNNL_ARG_SRC, source, gy, first_of(s)}, {DNNL_ARG_WEIGHTS, weights, weight}, {DNNL_ARG_DST, to, gx}});
}

void linear_weight_gradient(const Emitter& emit, const std::string& name, const LinearShape& s, BufferId gy, BufferId x,
                            BufferId target, float factor, bool add) {
  if (is_small(s))
    return emit.tape.add(name, {gy, x, target}, [=](const Addresses& at) -> Kernel {
      return
          [=, from = at.floats(gy), in = at.floats(x), to = at.floats(target), shape = product(s.out, s.in, s.rows)] {
            kernels::small_product(from, 1, static_cast<std::size_t>(s.out), in, shape, factor, add, to);
          };
    });
  const Desc source = transposed(s.out, s.rows), weights = matrix(s.rows, s.in), to = matrix(s.out, s.in);
  dnnl::primitive_attr attributes = summing(add);
  if (factor != 1) attributes.set_output_scales(0, {factor});
  const dnnl::matmul::primitive_desc descriptor(dnnl::matmul::desc(source, weights, to), attributes, emit.dnn->engine);
  add_primitive(emit.tape, emit.dnn, name, descriptor, dnnl::matmul(descriptor),
                {{DNNL_ARG_SRC, source, gy}, {DNNL_ARG_WEIGHTS, weights, x}, {DNNL_ARG_DST, to, target}});
}

}  // namespace shoal::client::training::engine
