#include "client/training/engine/operations.h"

namespace shoal::client::training::engine {
namespace {

using dnnl::convolution_backward_data;
using dnnl::convolution_backward_weights;
using dnnl::convolution_forward;
using Desc = dnnl::memory::desc;
using Tag = dnnl::memory::format_tag;
constexpr auto kFloat = dnnl::memory::data_type::f32;
constexpr auto kDirect = dnnl::algorithm::convolution_direct;

// The formats of one convolution: images as the engine keeps them, weights as PyTorch does and as oneDNN likes them.
struct Formats {
  explicit Formats(const ConvolutionShape& s)
      : x({s.examples, s.in, s.height, s.width}, kFloat, Tag::nhwc),
        y({s.examples, s.out, s.out_height, s.out_width}, kFloat, Tag::nhwc),
        bias({s.out}, kFloat, Tag::a),
        strides{s.stride, s.stride},
        padding{s.padding, s.padding} {
    const dnnl::memory::dims grouped{s.groups, s.out / s.groups, s.in / s.groups, s.kernel, s.kernel};
    const dnnl::memory::dims plain{s.out, s.in, s.kernel, s.kernel};
    weight = s.groups > 1 ? Desc(grouped, kFloat, Tag::goihw) : Desc(plain, kFloat, Tag::oihw);
    any = s.groups > 1 ? Desc(grouped, kFloat, Tag::any) : Desc(plain, kFloat, Tag::any);
  }
  Desc x, y, bias, weight, any;
  dnnl::memory::dims strides, padding;
};

convolution_forward::primitive_desc forward(const Formats& f, const dnnl::engine& engine, bool bias) {
  constexpr auto kTraining = dnnl::prop_kind::forward_training;
  const auto operation =
      bias ? convolution_forward::desc(kTraining, kDirect, f.x, f.any, f.bias, f.y, f.strides, f.padding, f.padding)
           : convolution_forward::desc(kTraining, kDirect, f.x, f.any, f.y, f.strides, f.padding, f.padding);
  return {operation, with_own_scratch(), engine};
}

// The weights in the format that a primitive wants: themselves, or a copy that is made at every step.
BufferId wanted_format(const Emitter& emit, const std::string& name, const Desc& have, const Desc& want,
                       BufferId weight) {
  if (have == want) return weight;
  const BufferId copy = emit.tape.buffer(name + " weight", want.get_size());
  add_reorder(emit.tape, emit.dnn, name + " reorder", {0, have, weight}, {0, want, copy});
  return copy;
}

}  // namespace

void convolution(const Emitter& emit, const std::string& name, const ConvolutionShape& s, BufferId x, BufferId weight,
                 std::optional<BufferId> bias, BufferId y) {
  const Formats f(s);
  const auto descriptor = forward(f, emit.dnn->engine, bias.has_value());
  const Desc want = descriptor.weights_desc();
  std::vector<Argument> arguments{{DNNL_ARG_SRC, f.x, x},
                                  {DNNL_ARG_WEIGHTS, want, wanted_format(emit, name, f.weight, want, weight)},
                                  {DNNL_ARG_DST, f.y, y}};
  if (bias) arguments.push_back({DNNL_ARG_BIAS, f.bias, *bias});
  add_primitive(emit.tape, emit.dnn, name, descriptor, convolution_forward(descriptor), std::move(arguments));
}

void convolution_input_gradient(const Emitter& emit, const std::string& name, const ConvolutionShape& s, BufferId gy,
                                BufferId weight, BufferId gx) {
  const Formats f(s);
  const convolution_backward_data::primitive_desc descriptor(
      convolution_backward_data::desc(kDirect, f.x, f.any, f.y, f.strides, f.padding, f.padding), with_own_scratch(),
      emit.dnn->engine, forward(f, emit.dnn->engine, false));
  const Desc want = descriptor.weights_desc();
  add_primitive(emit.tape, emit.dnn, name, descriptor, convolution_backward_data(descriptor),
                {{DNNL_ARG_DIFF_DST, f.y, gy},
                 {DNNL_ARG_WEIGHTS, want, wanted_format(emit, name, f.weight, want, weight)},
                 {DNNL_ARG_DIFF_SRC, f.x, gx}});
}

void convolution_weight_gradient(const Emitter& emit, const std::string& name, const ConvolutionShape& s, BufferId gy,
                                 BufferId x, BufferId target, bool add) {
  const Formats f(s);
  const convolution_backward_weights::primitive_desc descriptor(
      convolution_backward_weights::desc(kDirect, f.x, f.any, f.y, f.strides, f.padding, f.padding), with_own_scratch(),
      emit.dnn->engine, forward(f, emit.dnn->engine, false));
  const Desc made = descriptor.diff_weights_desc();
  const bool direct = made == f.weight && !add;
  const BufferId gradient = direct ? target : emit.tape.buffer(name + " gradient", made.get_size());
  add_primitive(emit.tape, emit.dnn, name, descriptor, convolution_backward_weights(descriptor),
                {{DNNL_ARG_SRC, f.x, x}, {DNNL_ARG_DIFF_DST, f.y, gy}, {DNNL_ARG_DIFF_WEIGHTS, made, gradient}});
  if (!direct) add_reorder(emit.tape, emit.dnn, name + " reorder", {0, made, gradient}, {0, f.weight, target}, add);
}

}  // namespace shoal::client::training::engine
