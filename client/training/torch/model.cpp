#include "client/training/torch/model.h"

#include <cstring>

namespace shoal::client::training {
namespace {

// Hands out parameters in layout order, as layout_of listed them.
class Cursor {
 public:
  explicit Cursor(const std::vector<at::Tensor>& parameters) : next_(parameters.begin()) {}
  const at::Tensor& take() { return *next_++; }

 private:
  std::vector<at::Tensor>::const_iterator next_;
};

at::Tensor group_norm(const at::Tensor& x, std::uint32_t groups, Cursor& cursor) {
  const at::Tensor& weight = cursor.take();
  const at::Tensor& bias = cursor.take();
  return at::group_norm(x, groups, weight, bias);
}

at::Tensor conv(const at::Tensor& x, Cursor& cursor, bool bias, std::int64_t stride, std::int64_t padding) {
  const at::Tensor& weight = cursor.take();
  return at::conv2d(x, weight, bias ? cursor.take() : at::Tensor(), stride, padding);
}

at::Tensor residual(const at::Tensor& x, const Layer& layer, Cursor& cursor) {
  const std::int64_t stride = layer.stride == 0 ? 1 : layer.stride;
  at::Tensor y = conv(x, cursor, false, stride, 1);
  y = at::relu(group_norm(y, layer.groups, cursor));
  y = group_norm(conv(y, cursor, false, 1, 1), layer.groups, cursor);
  if (y.sizes() == x.sizes()) return at::relu(y + x);
  return at::relu(y + group_norm(conv(x, cursor, false, stride, 0), layer.groups, cursor));
}

at::Tensor apply(const Layer& layer, const at::Tensor& x, Cursor& cursor) {
  const std::int64_t stride = layer.stride;
  switch (layer.kind) {
    case LayerKind::kLinear: {
      const at::Tensor& weight = cursor.take();
      return at::linear(x, weight, layer.bias ? cursor.take() : at::Tensor());
    }
    case LayerKind::kConv2d: return conv(x, cursor, layer.bias, stride == 0 ? 1 : stride, layer.padding);
    case LayerKind::kGroupNorm: return group_norm(x, layer.groups, cursor);
    case LayerKind::kResidual: return residual(x, layer, cursor);
    case LayerKind::kRelu: return at::relu(x);
    case LayerKind::kMaxPool: return at::max_pool2d(x, layer.kernel, stride == 0 ? layer.kernel : stride);
    case LayerKind::kGlobalAverage: return x.mean({2, 3});
    case LayerKind::kFlatten: return x.flatten(1);
  }
  return x;
}

}  // namespace

TorchModel::TorchModel(ModelDescription description, TensorLayout layout)
    : description_(std::move(description)), layout_(std::move(layout)) {
  for (const TensorSpec& spec : layout_.tensors()) {
    const std::vector<std::int64_t> shape(spec.shape.begin(), spec.shape.end());
    parameters_.push_back(at::zeros(shape, at::kFloat).requires_grad_(true));
  }
}

void TorchModel::load(std::span<const float> flat) {
  for (std::size_t i = 0; i < parameters_.size(); ++i)
    std::memcpy(parameters_[i].data_ptr<float>(), flat.data() + layout_.offset(i), layout_.count(i) * sizeof(float));
}

at::Tensor TorchModel::forward(const at::Tensor& batch) const {
  Cursor cursor(parameters_);
  at::Tensor x = batch;
  for (const Layer& layer : description_.layers) x = apply(layer, x, cursor);
  return x;
}

}  // namespace shoal::client::training
