// The JSON of a safetensors header, read as a stream of events so that nothing but what the format allows is ever held.
#pragma once

#include <optional>
#include <string_view>

#include "base/result.h"
#include "protocol/safetensors.h"

namespace shoal::protocol {

// "F32" and its kin; nullopt for types that are not supported (8-bit floats and below).
std::optional<Dtype> dtype_from_name(std::string_view name);

// Tensors in the order of the text, and metadata. kCorrupt unless every tensor has exactly dtype, shape and
// data_offsets. What the numbers mean is not checked here.
Result<SafetensorsHeader> parse_safetensors_json(std::string_view json);

}  // namespace shoal::protocol
