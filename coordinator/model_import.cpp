#include "coordinator/model_import.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <vector>

#include "protocol/safetensors_file.h"
#include "protocol/update_layout.h"

namespace shoal::coordinator {
namespace {

constexpr std::size_t kPiece = 1 << 20;

bool all_finite(std::span<const std::byte> bytes) {
  for (std::size_t i = 0; i + sizeof(float) <= bytes.size(); i += sizeof(float)) {
    float value;
    std::memcpy(&value, bytes.data() + i, sizeof value);
    if (!std::isfinite(value)) return false;
  }
  return true;
}

}  // namespace

Result<ModelRef> import_model(const std::string& path, JobId job, const std::string& plans,
                              const aggregation::ServerOptimizerOptions& optimizer, ModelStore& models) {
  SHOAL_TRY_ASSIGN(const protocol::SafetensorsFile file, protocol::SafetensorsFile::open(path));
  SHOAL_TRY_ASSIGN(const TensorLayout layout, protocol::layout_of(file.header()));
  if (layout.total() == 0) return Error(ErrorCode::kInvalid, path + " holds no parameters");
  if (auto updates = protocol::update_layouts(plans, layout); !updates.ok())
    return std::move(updates).error().because_of_this(path + " and training.plan do not go together");

  std::ifstream in(path, std::ios::binary);
  SHOAL_TRY_ASSIGN(auto writer, models.create(job, 0, aggregation::state_arrays(optimizer.name)));
  SHOAL_TRY(writer->expect(file.file_size()));
  std::vector<std::byte> piece(kPiece);
  std::uint64_t left = file.file_size(), header_left = file.header().data_offset;
  while (left > 0) {
    // The header by itself, so that the rest is whole floats from its first byte.
    const std::uint64_t n = std::min<std::uint64_t>(kPiece, header_left > 0 ? header_left : left);
    if (!in.read(reinterpret_cast<char*>(piece.data()), static_cast<std::streamsize>(n)))
      return Error(ErrorCode::kCorrupt, path + " became shorter while it was read");
    const std::span<const std::byte> bytes(piece.data(), n);
    if (header_left == 0 && !all_finite(bytes))
      return Error(ErrorCode::kInvalid, path + " holds values that are NaN or infinite; a job cannot begin from it");
    SHOAL_TRY(writer->write(bytes));
    left -= n;
    header_left -= std::min(header_left, n);
  }
  return std::move(*writer).finish();
}

Status export_model(const ModelRef& model, const ModelStore& models, const std::string& path) {
  SHOAL_TRY_ASSIGN(const auto reader, models.open(model));
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  std::vector<std::byte> piece(kPiece);
  for (std::uint64_t offset = 0; offset < reader->bytes(); offset += kPiece) {
    const std::span<std::byte> bytes(piece.data(), std::min<std::uint64_t>(kPiece, reader->bytes() - offset));
    SHOAL_TRY(reader->read(offset, bytes));
    out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  }
  if (!out.flush()) return errno_error(ErrorCode::kExhausted, "cannot write " + path, errno);
  return {};
}

}  // namespace shoal::coordinator
