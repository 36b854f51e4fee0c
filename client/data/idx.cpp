// IDX, the container of MNIST: bytes 0 0 TYPE DIMENSIONS, then big-endian uint32 extents, then the values.
#include <algorithm>
#include <array>
#include <bit>
#include <vector>

#include "client/data/readers.h"

namespace shoal::client::data {
namespace {

constexpr std::uint8_t kUint8 = 0x08, kFloat32 = 0x0D;
constexpr std::size_t kMaxDimensions = 4;
constexpr std::size_t kPieceBytes = std::size_t{1} << 20;

struct Header {
  std::uint8_t type = 0;
  std::vector<std::uint32_t> extents;
  std::uint64_t values = 1;
};

Result<Header> read_header(ByteSource& source) {
  std::array<std::uint8_t, 4> magic{};
  SHOAL_TRY(source.read_exactly(magic));
  if (magic[0] != 0 || magic[1] != 0) return source.corrupt("an IDX file begins with two zero bytes");
  Header header{.type = magic[2], .extents = {}};
  if (header.type != kUint8 && header.type != kFloat32)
    return source.corrupt("IDX type " + std::to_string(magic[2]) +
                          " is not read here, only uint8 (8) and float32 (13)");
  if (magic[3] == 0 || magic[3] > kMaxDimensions) return source.corrupt("an IDX file has 1 to 4 dimensions here");
  for (int i = 0; i < magic[3]; ++i) {
    std::array<std::uint8_t, 4> b{};
    SHOAL_TRY(source.read_exactly(b));
    header.extents.push_back(std::uint32_t{b[0]} << 24 | std::uint32_t{b[1]} << 16 | std::uint32_t{b[2]} << 8 | b[3]);
    if (__builtin_mul_overflow(header.values, header.extents.back(), &header.values))
      return source.corrupt("its extents multiply to more than 2^64 values");
  }
  return header;
}

// Exactly `total` bytes, then the end.
Result<std::vector<std::uint8_t>> read_values(ByteSource& source, std::uint64_t total, Bytes memory_limit) {
  if (total > memory_limit.count)
    return Error(ErrorCode::kExhausted, source.name() + ": it announces " + human_bytes(total) +
                                            ", more than the memory limit of " + human_bytes(memory_limit.count));
  std::vector<std::uint8_t> values;
  while (values.size() < total) {
    const std::size_t have = values.size();
    const std::size_t piece = std::min<std::uint64_t>(kPieceBytes, total - have);
    if (values.capacity() < have + piece) values.reserve(std::min<std::uint64_t>(total, 2 * (have + piece)));
    values.resize(have + piece);
    SHOAL_TRY(source.read_exactly(std::span(values).subspan(have)));
  }
  SHOAL_TRY(source.expect_end());
  return values;
}

std::vector<float> big_endian_floats(std::span<const std::uint8_t> bytes) {
  std::vector<float> floats(bytes.size() / 4);
  for (std::size_t i = 0; i < floats.size(); ++i) {
    const std::uint8_t* b = bytes.data() + 4 * i;
    floats[i] =
        std::bit_cast<float>(std::uint32_t{b[0]} << 24 | std::uint32_t{b[1]} << 16 | std::uint32_t{b[2]} << 8 | b[3]);
  }
  return floats;
}

}  // namespace

Result<Dataset> read_idx(ByteSource& images, ByteSource& labels, Bytes memory_limit) {
  Dataset dataset;
  SHOAL_TRY_ASSIGN(const Header image_header, read_header(images));
  if (image_header.extents.size() < 2) return images.corrupt("images have 2 to 4 dimensions");
  if (image_header.values == 0) return images.corrupt("an extent is 0");
  dataset.shape.assign(image_header.extents.begin() + 1, image_header.extents.end());
  if (dataset.shape.size() == 2) dataset.shape.insert(dataset.shape.begin(), 1);

  SHOAL_TRY_ASSIGN(const Header label_header, read_header(labels));
  if (label_header.type != kUint8 || label_header.extents.size() != 1)
    return labels.corrupt("labels are one dimension of uint8");
  if (label_header.values != image_header.extents[0])
    return labels.corrupt("it announces " + std::to_string(label_header.values) + " labels for " +
                          std::to_string(image_header.extents[0]) + " images");

  const std::uint64_t width = image_header.type == kFloat32 ? 4 : 1;
  std::uint64_t image_bytes = 0;
  if (__builtin_mul_overflow(image_header.values, width, &image_bytes))
    return images.corrupt("its extents are too large");
  SHOAL_TRY_ASSIGN(dataset.bytes, read_values(images, image_bytes, memory_limit));
  if (image_header.type == kFloat32) {
    dataset.floats = big_endian_floats(dataset.bytes);
    dataset.bytes = {};
  }
  SHOAL_TRY_ASSIGN(const std::vector<std::uint8_t> classes, read_values(labels, label_header.values, memory_limit));
  dataset.labels.assign(classes.begin(), classes.end());
  dataset.classes = *std::max_element(dataset.labels.begin(), dataset.labels.end()) + 1;
  SHOAL_TRY(check_dataset(dataset, images.name()));
  return dataset;
}

}  // namespace shoal::client::data
