#include "client/training/torch/model.h"

#include <cmath>
#include <cstring>
#include <limits>

namespace shoal::client::training {
namespace {

// Of q, k and v [batch, tokens, 3 * features], as PyTorch's MultiheadAttention makes it.
at::Tensor attention(const at::Tensor& qkv, std::int64_t heads, bool causal) {
  const std::int64_t batch = qkv.size(0), tokens = qkv.size(1), features = qkv.size(2) / 3;
  const at::Tensor parts = qkv.reshape({batch, tokens, 3, heads, features / heads}).permute({2, 0, 3, 1, 4});
  const double scale = 1 / std::sqrt(static_cast<double>(features / heads));
  at::Tensor scores = at::matmul(parts[0] * scale, parts[1].transpose(-2, -1));
  if (causal) {
    const at::Tensor later = at::ones({tokens, tokens}, at::kBool).triu(1);
    scores = scores.masked_fill(later, -std::numeric_limits<double>::infinity());
  }
  return at::matmul(at::softmax(scores, -1), parts[2]).transpose(1, 2).reshape({batch, tokens, features});
}

at::Tensor apply(const Op& op, const Shape& after, const std::vector<at::Tensor>& values,
                 const std::vector<at::Tensor>& parameters) {
  const at::Tensor& x = values[op.inputs[0]];
  const at::Tensor weight = op.weight ? parameters[*op.weight] : at::Tensor();
  const at::Tensor bias = op.bias ? parameters[*op.bias] : at::Tensor();
  const std::int64_t kernel = op.kernel, stride = op.stride, padding = op.padding, groups = op.groups;
  switch (op.kind) {
    case OpKind::kLinear: return at::linear(x, weight, bias);
    case OpKind::kConv2d: return at::conv2d(x, weight, bias, stride, padding, 1, groups);
    case OpKind::kGroupNorm: return at::group_norm(x, groups, weight, bias, kNormEpsilon);
    case OpKind::kRelu: return at::relu(x);
    case OpKind::kRelu6: return at::hardtanh(x, 0, 6);
    case OpKind::kMaxPool: return at::max_pool2d(x, kernel, stride);
    case OpKind::kAveragePool: return at::avg_pool2d(x, kernel, stride);
    case OpKind::kUpsample: return at::upsample_bilinear2d(x, {after[1], after[2]}, false);
    case OpKind::kGlobalAverage: return x.dim() == 4 ? x.mean({2, 3}) : x.mean({1});
    case OpKind::kFlatten: return x.flatten(1);
    case OpKind::kAdd: return x + values[op.inputs[1]];
    case OpKind::kEmbedding: return at::embedding(weight, x.to(at::kLong));
    case OpKind::kTokens: return x.flatten(2).transpose(1, 2);
    case OpKind::kPosition: return x + weight;
    case OpKind::kLayerNorm: return at::layer_norm(x, weight.sizes(), weight, bias, kNormEpsilon);
    case OpKind::kGelu: return at::gelu(x);
    case OpKind::kAttention: return attention(x, op.heads, op.causal);
    case OpKind::kLastToken: return x.select(1, -1);
  }
  return x;
}

}  // namespace

TorchModel::TorchModel(ModelDescription description, Graph graph, TensorLayout layout)
    : description_(std::move(description)), graph_(std::move(graph)), layout_(std::move(layout)) {
  last_use_.resize(graph_.values.size());
  for (std::size_t i = 0; i < graph_.ops.size(); ++i)
    for (const ValueId value : graph_.ops[i].inputs) last_use_[value] = i;
  for (const TensorSpec& spec : layout_.tensors()) {
    const std::vector<std::int64_t> shape(spec.shape.begin(), spec.shape.end());
    parameters_.push_back(at::zeros(shape, at::kFloat).requires_grad_(true));
  }
}

void TorchModel::load(std::span<const float> flat) {
  for (std::size_t i = 0; i < parameters_.size(); ++i)
    std::memcpy(parameters_[i].data_ptr<float>(), flat.data() + layout_.offset(i), layout_.count(i) * sizeof(float));
}

void TorchModel::train_only(const std::vector<bool>& trained) {
  for (std::size_t i = 0; i < parameters_.size(); ++i) parameters_[i].set_requires_grad(trained[i]);
}

at::Tensor TorchModel::forward(const at::Tensor& batch) const {
  std::vector<at::Tensor> values(graph_.values.size());
  values[0] = batch;
  for (std::size_t i = 0; i < graph_.ops.size(); ++i) {
    const Op& op = graph_.ops[i];
    values[op.output] = apply(op, graph_.shape(op.output), values, parameters_);
    // What autograd does not keep is given back at once.
    for (const ValueId value : op.inputs)
      if (last_use_[value] == i) values[value].reset();
  }
  return values[graph_.output];
}

}  // namespace shoal::client::training
