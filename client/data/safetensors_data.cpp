// Data sets in safetensors files: tensor `x` holds the examples, `y` the labels, `groups` (if there) the natural
// clients.
#include <algorithm>
#include <utility>

#include "client/data/readers.h"
#include "protocol/safetensors_file.h"

namespace shoal::client::data {
namespace {

using Tensor = protocol::SafetensorsHeader::Tensor;

constexpr std::int64_t kMaxClasses = 1 << 20;

// A [rows] tensor of whole numbers from 0 to below `limit`.
Result<std::vector<std::uint32_t>> read_column(const protocol::SafetensorsFile& file, const Tensor& tensor,
                                               std::uint64_t rows, std::int64_t limit, const std::string& path) {
  const auto bad = [&](std::string why) {
    return Error(ErrorCode::kInvalid, path + ", tensor " + tensor.name + ": " + std::move(why));
  };
  if (tensor.shape.size() != 1 || tensor.shape[0] != rows) return bad("it must have one number for each example");
  SHOAL_TRY_ASSIGN(const std::vector<std::int64_t> values, file.read_integers(tensor));
  std::vector<std::uint32_t> column(values.size());
  for (std::size_t row = 0; row < values.size(); ++row) {
    if (values[row] < 0 || values[row] >= limit)
      return bad("row " + std::to_string(row) + " holds " + std::to_string(values[row]) + ", want 0 to " +
                 std::to_string(limit - 1));
    column[row] = static_cast<std::uint32_t>(values[row]);
  }
  return column;
}

// {n}, {channels, height, width}; a plain {height, width} gets one channel.
Result<std::vector<std::uint32_t>> example_shape(const Tensor& x, const std::string& path) {
  const Error bad(ErrorCode::kInvalid, path +
                                           ", tensor x: want [rows, features], [rows, height, width] or "
                                           "[rows, channels, height, width], nothing empty");
  if (x.shape.size() < 2 || x.shape.size() > 4) return bad;
  std::vector<std::uint32_t> shape;
  for (std::uint64_t extent : x.shape)
    if (extent == 0 || extent > UINT32_MAX) return bad;
  for (std::size_t i = 1; i < x.shape.size(); ++i) shape.push_back(static_cast<std::uint32_t>(x.shape[i]));
  if (shape.size() == 2) shape.insert(shape.begin(), 1);
  return shape;
}

}  // namespace

Result<Dataset> read_safetensors_data(const std::string& path, const ReadOptions& options) {
  SHOAL_TRY_ASSIGN(const protocol::SafetensorsFile file, protocol::SafetensorsFile::open(path));
  const Tensor* x = file.header().find("x");
  const Tensor* y = file.header().find("y");
  const Tensor* groups = file.header().find("groups");
  if (x == nullptr || y == nullptr)
    return Error(ErrorCode::kInvalid, path + ": a data set needs the tensors x (examples) and y (labels)");

  Dataset dataset;
  SHOAL_TRY_ASSIGN(dataset.shape, example_shape(*x, path));
  const bool pixels = x->dtype == protocol::Dtype::kU8;
  // Labels and groups are eight bytes wide while they are converted.
  const std::uint64_t needed =
      x->count() * (pixels ? 1 : sizeof(float)) + 8 * (y->count() + (groups ? groups->count() : 0));
  if (needed > options.memory_limit.count)
    return Error(ErrorCode::kExhausted, path + ": it needs " + human_bytes(needed) +
                                            ", more than the memory limit of " +
                                            human_bytes(options.memory_limit.count));
  if (pixels) {
    dataset.bytes.resize(x->count());
    SHOAL_TRY(file.read(*x, std::as_writable_bytes(std::span(dataset.bytes))));
  } else {
    SHOAL_TRY_ASSIGN(dataset.floats, file.read_floats(*x));
  }
  SHOAL_TRY_ASSIGN(dataset.labels, read_column(file, *y, x->shape[0], kMaxClasses, path));
  dataset.classes = *std::max_element(dataset.labels.begin(), dataset.labels.end()) + 1;
  if (groups != nullptr) {
    SHOAL_TRY_ASSIGN(dataset.groups, read_column(file, *groups, x->shape[0], std::int64_t{1} << 24, path));
    const std::uint32_t count = *std::max_element(dataset.groups.begin(), dataset.groups.end()) + 1;
    for (std::uint32_t g = 0; g < count; ++g) dataset.group_names.push_back(std::to_string(g));
  }
  SHOAL_TRY(check_dataset(dataset, path));
  return dataset;
}

}  // namespace shoal::client::data
