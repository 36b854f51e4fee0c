#include "protocol/safetensors_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "base/check.h"
#include "protocol/durable_file.h"

namespace shoal::protocol {
namespace {

Status read_at(int descriptor, std::uint64_t offset, std::span<std::byte> out) {
  while (!out.empty()) {
    const ssize_t n = ::pread(descriptor, out.data(), out.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error(ErrorCode::kFailed, "cannot read", errno);
    if (n == 0) return Error(ErrorCode::kCorrupt, "the file ends too early");
    out = out.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
  return {};
}

// IEEE half precision, subnormals, infinities and NaN included.
float from_half(std::uint16_t half) {
  const std::uint32_t sign = std::uint32_t{half & 0x8000u} << 16;
  const std::uint32_t exponent = (half >> 10) & 31u;
  const std::uint32_t fraction = half & 0x3FFu;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return sign != 0 ? -magnitude : magnitude;
  }
  const std::uint32_t wide_exponent = exponent == 31 ? 255 : exponent + 127 - 15;
  return std::bit_cast<float>(sign | wide_exponent << 23 | fraction << 13);
}

float from_bfloat(std::uint16_t value) { return std::bit_cast<float>(std::uint32_t{value} << 16); }

// out[i] = convert(the i-th T of raw), where raw may lie at any address.
template <class T, class Out, class Convert>
void convert_all(std::span<const std::byte> raw, std::vector<Out>& out, Convert convert) {
  out.resize(raw.size() / sizeof(T));
  for (std::size_t i = 0; i < out.size(); ++i) {
    T value;
    std::memcpy(&value, raw.data() + i * sizeof(T), sizeof(T));
    out[i] = convert(value);
  }
}

// Calls visit(T{}) with the C++ type of an integer dtype; false for floats.
template <class Visit>
bool visit_integer(Dtype dtype, Visit visit) {
  switch (dtype) {
    case Dtype::kBool:
    case Dtype::kU8: visit(std::uint8_t{}); return true;
    case Dtype::kI8: visit(std::int8_t{}); return true;
    case Dtype::kU16: visit(std::uint16_t{}); return true;
    case Dtype::kI16: visit(std::int16_t{}); return true;
    case Dtype::kU32: visit(std::uint32_t{}); return true;
    case Dtype::kI32: visit(std::int32_t{}); return true;
    case Dtype::kU64: visit(std::uint64_t{}); return true;
    case Dtype::kI64: visit(std::int64_t{}); return true;
    case Dtype::kF16:
    case Dtype::kBF16:
    case Dtype::kF32:
    case Dtype::kF64: return false;
  }
  return false;
}

std::vector<float> to_floats(Dtype dtype, std::span<const std::byte> raw) {
  std::vector<float> out;
  const auto cast = [](auto value) { return static_cast<float>(value); };
  if (visit_integer(dtype, [&](auto type) { convert_all<decltype(type)>(raw, out, cast); })) return out;
  if (dtype == Dtype::kF16) convert_all<std::uint16_t>(raw, out, from_half);
  if (dtype == Dtype::kBF16) convert_all<std::uint16_t>(raw, out, from_bfloat);
  if (dtype == Dtype::kF32) convert_all<float>(raw, out, cast);
  if (dtype == Dtype::kF64) convert_all<double>(raw, out, cast);
  return out;
}

}  // namespace

SafetensorsFile::SafetensorsFile(int descriptor, std::string path, std::uint64_t file_size, SafetensorsHeader header)
    : descriptor_(descriptor), path_(std::move(path)), file_size_(file_size), header_(std::move(header)) {}

SafetensorsFile::~SafetensorsFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

SafetensorsFile::SafetensorsFile(SafetensorsFile&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)),
      path_(std::move(other.path_)),
      file_size_(other.file_size_),
      header_(std::move(other.header_)) {}

SafetensorsFile& SafetensorsFile::operator=(SafetensorsFile&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  std::swap(path_, other.path_);
  std::swap(file_size_, other.file_size_);
  std::swap(header_, other.header_);
  return *this;
}

Result<SafetensorsFile> SafetensorsFile::open(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0)
    return errno_error(errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kFailed, "cannot open " + path, errno);
  SafetensorsFile file(descriptor, path, 0, {});  // closes it from here on
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) return errno_error(ErrorCode::kFailed, "cannot examine " + path, errno);
  if (!S_ISREG(status.st_mode)) return Error(ErrorCode::kInvalid, path + " is not a file");
  file.file_size_ = static_cast<std::uint64_t>(status.st_size);

  Result<SafetensorsHeader> header = [&]() -> Result<SafetensorsHeader> {
    std::array<std::byte, 8> length{};
    SHOAL_TRY(read_at(descriptor, 0, std::span(length).first(std::min<std::uint64_t>(8, file.file_size_))));
    SHOAL_TRY_ASSIGN(const std::uint64_t size, header_bytes(length, file.file_size_));
    std::vector<std::byte> bytes(size);
    SHOAL_TRY(read_at(descriptor, 0, bytes));
    return parse_header(bytes, file.file_size_);
  }();
  if (!header.ok()) return std::move(header).error().because_of_this("cannot use " + path);
  file.header_ = std::move(header).value();
  return file;
}

Status SafetensorsFile::read(const SafetensorsHeader::Tensor& tensor, std::span<std::byte> out) const {
  SHOAL_CHECK(out.size() == tensor.end - tensor.begin, "the buffer has another size than the tensor");
  if (Status status = read_at(descriptor_, header_.data_offset + tensor.begin, out); !status.ok())
    return std::move(status).error().because_of_this("tensor '" + tensor.name + "' of " + path_);
  return {};
}

Result<std::shared_ptr<const void>> SafetensorsFile::map() const {
  void* const memory = ::mmap(nullptr, file_size_, PROT_READ, MAP_PRIVATE, descriptor_, 0);
  if (memory == MAP_FAILED) return errno_error(ErrorCode::kFailed, "cannot map " + path_, errno);
  return std::shared_ptr<const void>(memory, [size = file_size_](void* mapped) { ::munmap(mapped, size); });
}

Result<std::vector<float>> SafetensorsFile::read_floats(const SafetensorsHeader::Tensor& tensor) const {
  if (tensor.dtype == Dtype::kF32) {
    std::vector<float> out(tensor.count());
    SHOAL_TRY(read(tensor, std::as_writable_bytes(std::span(out))));
    return out;
  }
  std::vector<std::byte> raw(tensor.end - tensor.begin);
  SHOAL_TRY(read(tensor, raw));
  return to_floats(tensor.dtype, raw);
}

Result<std::vector<std::int64_t>> SafetensorsFile::read_integers(const SafetensorsHeader::Tensor& tensor) const {
  std::vector<std::byte> raw(tensor.end - tensor.begin);
  SHOAL_TRY(read(tensor, raw));
  std::vector<std::int64_t> out;
  bool fits = true;
  const bool integer = visit_integer(tensor.dtype, [&](auto type) {
    convert_all<decltype(type)>(raw, out, [&](auto v) {
      fits = fits && std::in_range<std::int64_t>(v);
      return static_cast<std::int64_t>(v);
    });
  });
  const std::string where = "tensor '" + tensor.name + "' of " + path_;
  if (!integer)
    return Error(ErrorCode::kInvalid, where + " is " + std::string(name_of(tensor.dtype)) + ", not an integer type");
  if (!fits) return Error(ErrorCode::kInvalid, where + " holds a value above 2^63 - 1");
  return out;
}

void ModelFile::let_go() const {
  if (!mapped) return;
  const auto* const begin = static_cast<const std::byte*>(memory.get());
  const std::size_t bytes = static_cast<std::size_t>(std::as_bytes(values).data() - begin) + values.size_bytes();
  ::madvise(const_cast<std::byte*>(begin), bytes, MADV_DONTNEED);  // advice: nothing depends on it
}

Result<ModelFile> read_model(const std::string& path) {
  SHOAL_TRY_ASSIGN(const SafetensorsFile file, SafetensorsFile::open(path));
  ModelFile model;
  Result<TensorLayout> layout = layout_of(file.header());
  if (!layout.ok()) return std::move(layout).error().because_of_this("cannot use " + path + " as a model");
  model.layout = std::move(layout).value();
  model.metadata = file.header().metadata;
  model.metadata.erase(std::string(kGroupsKey));
  // The tensors lie one after the other in the layout's order, so that data is the flat array.
  const std::uint64_t total = model.layout.total();
  if (file.header().data_offset % alignof(float) == 0) {
    SHOAL_TRY_ASSIGN(model.memory, file.map());
    const auto* data = static_cast<const std::byte*>(model.memory.get()) + file.header().data_offset;
    model.values = {reinterpret_cast<const float*>(data), total};
    model.mapped = true;
  } else {  // written by others
    const auto values = std::make_shared<std::vector<float>>(total);
    const SafetensorsHeader::Tensor all{path, Dtype::kF32, {}, 0, total * sizeof(float)};
    SHOAL_TRY(file.read(all, std::as_writable_bytes(std::span(*values))));
    model.values = *values;
    model.memory = values;
  }
  return model;
}

Status write_model(const std::string& path, const TensorLayout& layout, std::span<const float> values,
                   const std::map<std::string, std::string>& metadata) {
  SHOAL_CHECK(values.size() == layout.total(), "the values have another length than the layout");
  SHOAL_TRY_ASSIGN(const std::string header, make_header(layout, metadata));
  const std::span<const std::byte> pieces[] = {std::as_bytes(std::span(header)), std::as_bytes(values)};
  return write_file(path, pieces, 0644, IfExists::kReplace);
}

}  // namespace shoal::protocol
