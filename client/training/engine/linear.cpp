#include "client/training/engine/operations.h"

namespace shoal::client::training::engine {
namespace {

using Desc = dnnl::memory::desc;
constexpr auto kFloat = dnnl::memory::data_type::f32;

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

std::size_t first_of(const LinearShape& s) { return static_cast<std::size_t>(s.first) * sizeof(float); }

}  // namespace

void linear(const Emitter& emit, const std::string& name, const LinearShape& s, BufferId x, BufferId weight,
            std::optional<BufferId> bias, BufferId y) {
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
  const Desc source = matrix(s.rows, s.out, s.width()), weights = matrix(s.out, s.in), to = matrix(s.rows, s.in);
  const dnnl::matmul::primitive_desc descriptor(dnnl::matmul::desc(source, weights, to), summing(add),
                                                emit.dnn->engine);
  add_primitive(emit.tape, emit.dnn, name, descriptor, dnnl::matmul(descriptor),
                {{DNNL_ARG_SRC, source, gy, first_of(s)}, {DNNL_ARG_WEIGHTS, weights, weight}, {DNNL_ARG_DST, to, gx}});
}

void linear_weight_gradient(const Emitter& emit, const std::string& name, const LinearShape& s, BufferId gy, BufferId x,
                            BufferId target, float factor, bool add) {
  const Desc source = transposed(s.out, s.rows), weights = matrix(s.rows, s.in), to = matrix(s.out, s.in);
  dnnl::primitive_attr attributes = summing(add);
  if (factor != 1) attributes.set_output_scales(0, {factor});
  const dnnl::matmul::primitive_desc descriptor(dnnl::matmul::desc(source, weights, to), attributes, emit.dnn->engine);
  add_primitive(emit.tape, emit.dnn, name, descriptor, dnnl::matmul(descriptor),
                {{DNNL_ARG_SRC, source, gy}, {DNNL_ARG_WEIGHTS, weights, x}, {DNNL_ARG_DST, to, target}});
}

}  // namespace shoal::client::training::engine
