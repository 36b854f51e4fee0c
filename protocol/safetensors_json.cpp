#include "protocol/safetensors_json.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "protocol/limits.h"

namespace shoal::protocol {
namespace {

using Tensor = SafetensorsHeader::Tensor;

constexpr std::string_view kMetadataKey = "__metadata__";

// Where the reader stands. The format has no other nesting.
enum class Place { kStart, kTop, kMetadata, kTensor, kShape, kOffsets, kEnd };
// What the value that comes next belongs to, inside a tensor.
enum class Member { kNone, kDtype, kShape, kOffsets };

// Each function returns false to stop, after fail() said why. Called by nlohmann's parser, hence the names and
// signatures.
class HeaderReader {
 public:
  bool null() { return fail("null has no meaning here"); }
  bool boolean(bool) { return fail("true and false have no meaning here"); }
  bool number_integer(std::int64_t) { return fail("a number is negative"); }
  bool number_float(double, const std::string&) { return fail("a number is not an integer"); }
  bool binary(nlohmann::json::binary_t&) { return fail("binary has no meaning here"); }

  bool number_unsigned(std::uint64_t value) {
    if (place_ == Place::kShape) {
      if (tensor_.shape.size() == kMaxTensorDimensions) return fail("a tensor has too many dimensions");
      tensor_.shape.push_back(value);
      return true;
    }
    if (place_ == Place::kOffsets) {
      if (offsets_ == 2) return fail("data_offsets has more than two numbers");
      (offsets_++ == 0 ? tensor_.begin : tensor_.end) = value;
      return true;
    }
    return fail("a number has no meaning here");
  }

  bool string(std::string& value) {
    if (place_ == Place::kMetadata) {
      if (!header_.metadata.emplace(std::move(metadata_name_), std::move(value)).second)
        return fail("metadata repeats a name");
      return true;
    }
    if (place_ != Place::kTensor || member_ != Member::kDtype) return fail("text has no meaning here");
    const std::optional<Dtype> dtype = dtype_from_name(value);
    if (!dtype) return fail("a tensor's dtype is not supported");
    tensor_.dtype = *dtype;
    member_ = Member::kNone;
    return true;
  }

  bool start_object(std::size_t) {
    if (place_ == Place::kStart) return go(Place::kTop);
    if (place_ != Place::kTop) return fail("an object has no meaning here");
    return go(in_metadata_ ? Place::kMetadata : Place::kTensor);
  }

  bool key(std::string& name) {
    if (place_ == Place::kTop) return begin_member_of_top(name);
    if (place_ == Place::kMetadata) {
      metadata_name_ = std::move(name);
      return true;
    }
    if (name == "dtype") return begin_member_of_tensor(Member::kDtype);
    if (name == "shape") return begin_member_of_tensor(Member::kShape);
    if (name == "data_offsets") return begin_member_of_tensor(Member::kOffsets);
    return fail("a tensor has a member besides dtype, shape and data_offsets");
  }

  bool end_object() {
    if (place_ == Place::kTop) return go(Place::kEnd);
    if (place_ == Place::kTensor) {
      if (seen_ != kAllMembers) return fail("a tensor lacks one of dtype, shape and data_offsets");
      header_.tensors.push_back(std::move(tensor_));
      tensor_ = Tensor();
    }
    return go(Place::kTop);
  }

  bool start_array(std::size_t) {
    if (place_ == Place::kTensor && member_ == Member::kShape) return go(Place::kShape);
    if (place_ == Place::kTensor && member_ == Member::kOffsets) return go(Place::kOffsets);
    return fail("an array has no meaning here");
  }

  bool end_array() {
    if (place_ == Place::kOffsets && offsets_ != 2) return fail("data_offsets has fewer than two numbers");
    member_ = Member::kNone;
    return go(Place::kTensor);
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception&) {
    return fail("it is not JSON at byte " + std::to_string(position));
  }

  Result<SafetensorsHeader> take() && {
    if (!failure_.empty()) return Error(ErrorCode::kCorrupt, "safetensors header: " + failure_);
    return std::move(header_);
  }

 private:
  static constexpr unsigned kAllMembers = 0b111;

  bool go(Place place) {
    place_ = place;
    return true;
  }
  bool fail(std::string why) {
    if (failure_.empty()) failure_ = std::move(why);
    return false;
  }
  bool begin_member_of_top(std::string& name) {
    in_metadata_ = name == kMetadataKey;
    if (in_metadata_ && std::exchange(seen_metadata_, true)) return fail("__metadata__ stands there twice");
    if (!in_metadata_ && header_.tensors.size() == kMaxTensors) return fail("there are too many tensors");
    if (!in_metadata_) tensor_.name = std::move(name);
    seen_ = 0;
    offsets_ = 0;
    return true;
  }
  bool begin_member_of_tensor(Member member) {
    const unsigned bit = 1u << (static_cast<unsigned>(member) - 1);
    if (seen_ & bit) return fail("a tensor repeats a member");
    seen_ |= bit;
    member_ = member;
    return true;
  }

  SafetensorsHeader header_;
  std::string failure_;
  Place place_ = Place::kStart;
  bool in_metadata_ = false, seen_metadata_ = false;
  std::string metadata_name_;
  Tensor tensor_;                  // being read
  Member member_ = Member::kNone;  // whose value comes next
  unsigned seen_ = 0;              // bits of the members that tensor_ has
  int offsets_ = 0;                // numbers of data_offsets that were read
};

}  // namespace

Result<SafetensorsHeader> parse_safetensors_json(std::string_view json) {
  if (json.empty() || json.front() != '{')
    return Error(ErrorCode::kCorrupt, "safetensors header: it does not begin with {; is this a safetensors file?");
  HeaderReader reader;
  nlohmann::json::sax_parse(json, &reader);
  return std::move(reader).take();
}

}  // namespace shoal::protocol
