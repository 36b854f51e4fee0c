#include "client/data/dataset.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/vector_clones.h"

namespace shoal::client::data {
namespace {

SHOAL_VECTOR_CLONES void scale_pixels(const std::uint8_t* pixels, float* out, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) out[i] = static_cast<float>(pixels[i]) * (1.0f / 255.0f);
}

}  // namespace

void Dataset::example(std::size_t row, std::span<float> out) const {
  const std::size_t size = example_size();
  SHOAL_CHECK(row < rows() && out.size() == size, "Dataset::example outside of the data");
  if (!floats.empty()) {
    std::copy_n(floats.data() + row * size, size, out.data());
    return;
  }
  scale_pixels(bytes.data() + row * size, out.data(), size);
}

Status check_dataset(const Dataset& dataset, const std::string& source) {
  const auto bad = [&](std::string why) { return Error(ErrorCode::kCorrupt, source + ": " + std::move(why)); };
  const std::size_t values = dataset.rows() * dataset.example_size();
  if (dataset.rows() == 0) return bad("it has no examples");
  if (dataset.bytes.size() + dataset.floats.size() != values || (!dataset.bytes.empty() && !dataset.floats.empty()))
    return bad("examples and labels do not match");
  if (dataset.classes < 2) return bad("all examples have one class, there is nothing to learn");
  const auto strange = std::find_if(dataset.labels.begin(), dataset.labels.end(),
                                    [&](std::uint32_t label) { return label >= dataset.classes; });
  if (strange != dataset.labels.end())
    return bad("row " + std::to_string(strange - dataset.labels.begin()) + " has label " + std::to_string(*strange) +
               " of " + std::to_string(dataset.classes) + " classes");
  const auto wild =
      std::find_if(dataset.floats.begin(), dataset.floats.end(), [](float v) { return !std::isfinite(v); });
  if (wild != dataset.floats.end()) {
    const std::size_t at = static_cast<std::size_t>(wild - dataset.floats.begin());
    return bad("row " + std::to_string(at / dataset.example_size()) + " holds a value that is not finite");
  }
  if (!dataset.groups.empty()) {
    if (dataset.groups.size() != dataset.rows()) return bad("rows and natural clients do not match");
    if (*std::max_element(dataset.groups.begin(), dataset.groups.end()) >= dataset.group_names.size())
      return bad("a row belongs to a natural client without a name");
  }
  return {};
}

}  // namespace shoal::client::data
