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

template <class T>
void keep_runs(std::vector<T>& values, std::span<const std::uint32_t> rows, std::size_t size) {
  if (values.empty()) return;
  auto out = values.begin();
  for (const std::uint32_t row : rows) {
    const auto from = values.begin() + static_cast<std::ptrdiff_t>(row * size);
    out = std::copy(from, from + static_cast<std::ptrdiff_t>(size), out);
  }
  values.erase(out, values.end());
  values.shrink_to_fit();
}

// Moves what the windows of `size` from `starts` on cover to the front.
void keep_windows(std::vector<std::uint8_t>& tokens, std::vector<std::uint32_t>& starts, std::size_t size) {
  std::size_t kept = 0, end = 0;  // tokens at the front, and up to where these came from
  for (std::uint32_t& start : starts) {
    const std::size_t from = std::max<std::size_t>(start, end), to = start + size;
    const std::size_t moved = kept - (from - start);
    std::copy(tokens.begin() + static_cast<std::ptrdiff_t>(from), tokens.begin() + static_cast<std::ptrdiff_t>(to),
              tokens.begin() + static_cast<std::ptrdiff_t>(kept));
    kept += to - from;
    end = to;
    start = static_cast<std::uint32_t>(moved);
  }
  tokens.resize(kept);
  tokens.shrink_to_fit();
}

}  // namespace

void Dataset::keep(std::span<const std::uint32_t> rows) {
  const std::size_t size = example_size();
  keep_runs(bytes, rows, size);
  keep_runs(floats, rows, size);
  keep_runs(starts, rows, 1);
  keep_windows(tokens, starts, size);
  keep_runs(labels, rows, 1);
  keep_runs(groups, rows, 1);
}

std::uint64_t Dataset::bytes_in_memory() const {
  return bytes.size() + tokens.size() + 4 * (floats.size() + starts.size() + labels.size() + groups.size());
}

void Dataset::example(std::size_t row, std::span<float> out) const {
  const std::size_t size = example_size();
  SHOAL_CHECK(row < rows() && out.size() == size, "Dataset::example outside of the data");
  if (!floats.empty()) {
    std::copy_n(floats.data() + row * size, size, out.data());
    return;
  }
  if (!tokens.empty()) {
    std::copy_n(tokens.data() + starts[row], size, out.data());
    return;
  }
  scale_pixels(bytes.data() + row * size, out.data(), size);
}

Status check_dataset(const Dataset& dataset, const std::string& source) {
  const auto bad = [&](std::string why) { return Error(ErrorCode::kCorrupt, source + ": " + std::move(why)); };
  const std::size_t values = dataset.rows() * dataset.example_size();
  if (dataset.rows() == 0) return bad("it has no examples");
  const int kinds = !dataset.bytes.empty() + !dataset.floats.empty() + !dataset.tokens.empty();
  const bool windows = !dataset.tokens.empty();
  if (kinds != 1 || (!windows && dataset.bytes.size() + dataset.floats.size() != values) ||
      dataset.starts.size() != (windows ? dataset.rows() : 0))
    return bad("examples and labels do not match");
  for (const std::uint32_t start : dataset.starts)
    if (start + dataset.example_size() > dataset.tokens.size()) return bad("a window goes beyond the end of the text");
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

Status append(Dataset& to, const Dataset& more) {
  if (!to.tokens.empty() || !more.tokens.empty())
    return Error(ErrorCode::kInvalid, "texts share one vocabulary; put them in one file");
  if (to.shape != more.shape || to.bytes.empty() != more.bytes.empty())
    return Error(ErrorCode::kInvalid, "the data sets have examples of different shapes or kinds");
  to.bytes.insert(to.bytes.end(), more.bytes.begin(), more.bytes.end());
  to.floats.insert(to.floats.end(), more.floats.begin(), more.floats.end());
  for (const std::uint32_t label : more.labels) to.labels.push_back(to.classes + label);
  to.classes += more.classes;
  to.groups.clear();
  to.group_names.clear();
  return {};
}

}  // namespace shoal::client::data
