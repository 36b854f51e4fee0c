#include "client/training/engine/operations.h"

namespace shoal::client::training::engine {
namespace {

using dnnl::eltwise_backward;
using dnnl::eltwise_forward;
constexpr auto kGelu = dnnl::algorithm::eltwise_gelu_erf;

dnnl::memory::desc row_of(std::size_t n) {
  return {{static_cast<std::int64_t>(n)}, dnnl::memory::data_type::f32, dnnl::memory::format_tag::a};
}

eltwise_forward::primitive_desc forward(std::size_t n, const dnnl::engine& engine) {
  return {eltwise_forward::desc(dnnl::prop_kind::forward_training, kGelu, row_of(n), 0, 0), with_own_scratch(), engine};
}

}  // namespace

void gelu(const Emitter& emit, const std::string& name, std::size_t n, BufferId x, BufferId y) {
  const auto descriptor = forward(n, emit.dnn->engine);
  add_primitive(emit.tape, emit.dnn, name, descriptor, eltwise_forward(descriptor),
                {{DNNL_ARG_SRC, row_of(n), x}, {DNNL_ARG_DST, row_of(n), y}});
}

void gelu_gradient(const Emitter& emit, const std::string& name, std::size_t n, BufferId gy, BufferId x, BufferId gx) {
  const eltwise_backward::primitive_desc descriptor(eltwise_backward::desc(kGelu, row_of(n), row_of(n), 0, 0),
                                                    with_own_scratch(), emit.dnn->engine, forward(n, emit.dnn->engine));
  add_primitive(emit.tape, emit.dnn, name, descriptor, eltwise_backward(descriptor),
                {{DNNL_ARG_SRC, row_of(n), x}, {DNNL_ARG_DIFF_DST, row_of(n), gy}, {DNNL_ARG_DIFF_SRC, row_of(n), gx}});
}

}  // namespace shoal::client::training::engine
