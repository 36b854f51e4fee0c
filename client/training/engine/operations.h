// Linear layers, convolutions and GELU, forward and backward, as instructions around oneDNN's primitives. Weights and
// their gradients are in PyTorch's order; images are [examples, height, width, channels].
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "client/training/engine/onednn.h"
#include "client/training/engine/tape.h"

namespace shoal::client::training::engine {

struct Emitter {
  Tape& tape;
  std::shared_ptr<OneDnn> dnn;
};

struct LinearShape {
  std::int64_t rows, in, out;
  // Only the output features from `first` on: y and gy have a row of `all` of them. 0: all of them.
  std::int64_t first = 0, all = 0;

  std::int64_t width() const { return all == 0 ? out : all; }
};
// y = x * weight^T + bias; `weight` holds `out` rows, `bias` all of them.
void linear(const Emitter& emit, const std::string& name, const LinearShape& shape, BufferId x, BufferId weight,
            std::optional<BufferId> bias, BufferId y);
// gx = gy * weight, or that added to it
void linear_input_gradient(const Emitter& emit, const std::string& name, const LinearShape& shape, BufferId gy,
                           BufferId weight, BufferId gx, bool add);
// target = factor * gy^T * x, or that added to it. With factor = -learning rate and the weight as target this is a step
// of SGD without a gradient in memory.
void linear_weight_gradient(const Emitter& emit, const std::string& name, const LinearShape& shape, BufferId gy,
                            BufferId x, BufferId target, float factor, bool add);

struct ConvolutionShape {
  std::int64_t examples, height, width, in, out_height, out_width, out, kernel, stride, padding, groups;
};
void convolution(const Emitter& emit, const std::string& name, const ConvolutionShape& shape, BufferId x,
                 BufferId weight, std::optional<BufferId> bias, BufferId y);
void convolution_input_gradient(const Emitter& emit, const std::string& name, const ConvolutionShape& shape,
                                BufferId gy, BufferId weight, BufferId gx);
// target = the gradient, or that added to it.
void convolution_weight_gradient(const Emitter& emit, const std::string& name, const ConvolutionShape& shape,
                                 BufferId gy, BufferId x, BufferId target, bool add);

// Of n values; y may be x, and gx gy.
void gelu(const Emitter& emit, const std::string& name, std::size_t n, BufferId x, BufferId y);
void gelu_gradient(const Emitter& emit, const std::string& name, std::size_t n, BufferId gy, BufferId x, BufferId gx);

}  // namespace shoal::client::training::engine
