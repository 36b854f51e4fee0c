#include "protocol/safetensors.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "base/check.h"
#include "protocol/limits.h"
#include "protocol/safetensors_json.h"

namespace shoal::protocol {
namespace {

using Tensor = SafetensorsHeader::Tensor;

constexpr std::size_t kLengthBytes = 8;
constexpr std::string_view kMetadataKey = "__metadata__";
constexpr std::string_view kGroups[] = {"backbone", "norm", "bias", "lite", "adapter", "head"};

struct DtypeInfo {
  Dtype dtype;
  std::string_view name;
  std::size_t bytes;
};
constexpr DtypeInfo kDtypes[] = {
    {Dtype::kBool, "BOOL", 1}, {Dtype::kU8, "U8", 1},   {Dtype::kI8, "I8", 1},     {Dtype::kU16, "U16", 2},
    {Dtype::kI16, "I16", 2},   {Dtype::kU32, "U32", 4}, {Dtype::kI32, "I32", 4},   {Dtype::kU64, "U64", 8},
    {Dtype::kI64, "I64", 8},   {Dtype::kF16, "F16", 2}, {Dtype::kBF16, "BF16", 2}, {Dtype::kF32, "F32", 4},
    {Dtype::kF64, "F64", 8},
};

const DtypeInfo& info_of(Dtype dtype) {
  for (const DtypeInfo& info : kDtypes)
    if (info.dtype == dtype) return info;
  SHOAL_CHECK(false, "a Dtype that is none");
}

Error corrupt(std::string why) { return Error(ErrorCode::kCorrupt, "safetensors header: " + std::move(why)); }
Error corrupt(const std::string& tensor, const char* why) { return corrupt("tensor '" + tensor + "' " + why); }

// Shape, type and offsets of one tensor agree.
Status check_size(const Tensor& tensor) {
  if (tensor.name.empty() || tensor.name.size() > kMaxTensorNameBytes)
    return corrupt("a tensor's name is empty or too long");
  if (tensor.shape.size() > kMaxTensorDimensions) return corrupt(tensor.name, "has too many dimensions");
  std::uint64_t bytes = size_of(tensor.dtype);
  for (std::uint64_t extent : tensor.shape)
    if (__builtin_mul_overflow(bytes, extent, &bytes))
      return corrupt(tensor.name, "has more elements than can be counted");
  if (tensor.begin > tensor.end) return corrupt(tensor.name, "ends before it begins");
  if (tensor.end - tensor.begin != bytes)
    return corrupt(tensor.name, "has a shape and offsets that contradict each other");
  return {};
}

// The tensors, ordered by offset, cover the data exactly.
Status check_cover(const std::vector<Tensor>& tensors, std::uint64_t data_bytes) {
  std::uint64_t expected = 0;
  for (const Tensor& tensor : tensors) {
    if (tensor.begin < expected) return corrupt(tensor.name, "overlaps the one before it");
    if (tensor.begin > expected) return corrupt(tensor.name, "leaves a hole before it");
    expected = tensor.end;
  }
  if (expected > data_bytes)
    return corrupt("the tensors need " + std::to_string(expected) + " bytes and the file holds " +
                   std::to_string(data_bytes) + "; it was cut short");
  if (expected < data_bytes) return corrupt(std::to_string(data_bytes - expected) + " bytes follow the last tensor");
  return {};
}

// As a JSON string with quotes; nullopt when it is not UTF-8.
std::optional<std::string> json_text(std::string_view text) {
  try {
    return nlohmann::json(text).dump();
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
}

Result<std::string> groups_json(const TensorLayout& layout) {
  try {
    nlohmann::json groups = nlohmann::json::object();
    for (const TensorSpec& tensor : layout.tensors()) groups[tensor.name] = tensor.group;
    return groups.dump();
  } catch (const nlohmann::json::exception&) {
    return Error(ErrorCode::kInvalid, "a tensor's name is not UTF-8");
  }
}

Result<std::map<std::string, std::string>> parse_groups(const std::string& text) {
  const nlohmann::json groups = nlohmann::json::parse(text, nullptr, false);
  if (!groups.is_object()) return corrupt("metadata '" + std::string(kGroupsKey) + "' is not a JSON object");
  std::map<std::string, std::string> by_name;
  for (const auto& [name, group] : groups.items()) {
    if (!group.is_string()) return corrupt(name, "has a group that is not text");
    const auto& text_of_group = group.get_ref<const std::string&>();
    if (std::find(std::begin(kGroups), std::end(kGroups), text_of_group) == std::end(kGroups))
      return Error(ErrorCode::kInvalid, "tensor '" + name + "' has the unknown group '" + text_of_group +
                                            "'; groups are backbone, norm, bias, lite, adapter and head");
    by_name.emplace(name, text_of_group);
  }
  return by_name;
}

// For files that do not tell: the last matrix and its bias are what turns features into classes.
std::map<std::string, std::string> guess_groups(const std::vector<Tensor>& tensors) {
  constexpr std::string_view kWeight = ".weight";
  std::map<std::string, std::string> groups;
  for (auto tensor = tensors.rbegin(); tensor != tensors.rend(); ++tensor) {
    if (tensor->shape.size() != 2 || !tensor->name.ends_with(kWeight)) continue;
    const std::string layer = tensor->name.substr(0, tensor->name.size() - kWeight.size());
    groups[tensor->name] = "head";
    groups[layer + ".bias"] = "head";
    break;
  }
  return groups;
}

}  // namespace

std::size_t size_of(Dtype dtype) { return info_of(dtype).bytes; }
std::string_view name_of(Dtype dtype) { return info_of(dtype).name; }

std::optional<Dtype> dtype_from_name(std::string_view name) {
  for (const DtypeInfo& info : kDtypes)
    if (info.name == name) return info.dtype;
  return std::nullopt;
}

const Tensor* SafetensorsHeader::find(std::string_view name) const {
  for (const Tensor& tensor : tensors)
    if (tensor.name == name) return &tensor;
  return nullptr;
}

Result<std::uint64_t> header_bytes(std::span<const std::byte> first_8, std::uint64_t file_size) {
  if (first_8.size() < kLengthBytes || file_size < kLengthBytes) return corrupt("the file is shorter than 8 bytes");
  std::uint64_t length = 0;
  std::memcpy(&length, first_8.data(), kLengthBytes);
  if (length > kMaxSafetensorsHeaderBytes)
    return corrupt("it claims " + std::to_string(length) + " bytes; is this a safetensors file?");
  if (length > file_size - kLengthBytes) return corrupt("it is longer than the file, which was cut short");
  return length + kLengthBytes;
}

Result<SafetensorsHeader> parse_header(std::span<const std::byte> bytes, std::uint64_t file_size) {
  SHOAL_TRY_ASSIGN(const std::uint64_t data_offset, header_bytes(bytes, file_size));
  if (bytes.size() < data_offset) return corrupt("it is longer than the bytes at hand");
  const std::string_view json(reinterpret_cast<const char*>(bytes.data()) + kLengthBytes, data_offset - kLengthBytes);
  SHOAL_TRY_ASSIGN(SafetensorsHeader header, parse_safetensors_json(json));
  header.data_offset = data_offset;

  std::set<std::string_view> names;
  for (const Tensor& tensor : header.tensors) {
    SHOAL_TRY(check_size(tensor));
    if (!names.insert(tensor.name).second) return corrupt(tensor.name, "stands there twice");
  }
  std::stable_sort(header.tensors.begin(), header.tensors.end(), [](const Tensor& a, const Tensor& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);  // empty tensors before the one at the same place
  });
  SHOAL_TRY(check_cover(header.tensors, file_size - data_offset));
  return header;
}

Result<std::string> make_header(const TensorLayout& layout, const std::map<std::string, std::string>& metadata) {
  if (layout.tensors().size() > kMaxTensors) return Error(ErrorCode::kInvalid, "the model has too many tensors");
  std::map<std::string, std::string> all_metadata = metadata;
  SHOAL_TRY_ASSIGN(all_metadata[std::string(kGroupsKey)], groups_json(layout));

  std::string json = "{\"" + std::string(kMetadataKey) + "\":{";
  for (const auto& [name, value] : all_metadata) {
    const auto name_text = json_text(name), value_text = json_text(value);
    if (!name_text || !value_text) return Error(ErrorCode::kInvalid, "metadata of the model is not UTF-8");
    if (json.back() != '{') json += ',';
    json += *name_text + ':' + *value_text;
  }
  json += '}';
  for (std::size_t i = 0; i < layout.tensors().size(); ++i) {
    const TensorSpec& tensor = layout.tensors()[i];
    if (tensor.name == kMetadataKey || tensor.name.size() > kMaxTensorNameBytes ||
        tensor.shape.size() > kMaxTensorDimensions)
      return Error(ErrorCode::kInvalid,
                   "tensor '" + tensor.name + "' has a name or shape that safetensors cannot hold");
    const std::uint64_t begin = layout.offset(i) * sizeof(float);
    json += ',' + json_text(tensor.name).value() +
            ":{\"dtype\":\"F32\",\"shape\":" + nlohmann::json(tensor.shape).dump() + ",\"data_offsets\":[" +
            std::to_string(begin) + ',' + std::to_string(begin + layout.count(i) * sizeof(float)) + "]}";
  }
  json += '}';
  json.resize((json.size() + 7) / 8 * 8, ' ');
  if (json.size() > kMaxSafetensorsHeaderBytes)
    return Error(ErrorCode::kInvalid, "the model's header would be too long");

  std::uint64_t length = json.size();
  std::string header(reinterpret_cast<const char*>(&length), kLengthBytes);
  return header += json;
}

Result<TensorLayout> layout_of(const SafetensorsHeader& header) {
  std::map<std::string, std::string> groups;
  if (const auto stated = header.metadata.find(std::string(kGroupsKey)); stated != header.metadata.end()) {
    SHOAL_TRY_ASSIGN(groups, parse_groups(stated->second));
  } else {
    groups = guess_groups(header.tensors);
  }
  std::vector<TensorSpec> tensors;
  tensors.reserve(header.tensors.size());
  for (const Tensor& tensor : header.tensors) {
    if (tensor.dtype != Dtype::kF32)
      return Error(ErrorCode::kInvalid, "tensor '" + tensor.name + "' is " + std::string(name_of(tensor.dtype)) +
                                            "; a model's tensors are F32: convert it before it is used here");
    const auto group = groups.find(tensor.name);
    tensors.push_back({tensor.name, tensor.shape, group == groups.end() ? "backbone" : group->second});
  }
  return TensorLayout::make(std::move(tensors));
}

}  // namespace shoal::protocol
