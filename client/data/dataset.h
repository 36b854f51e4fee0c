// Labelled examples in memory, as every reader delivers them and every trainer takes them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace shoal::client::data {

// Row r is example r. Immutable after a reader returns it; shared between threads by const reference.
struct Dataset {
  std::vector<std::uint32_t> shape;  // of one example, channels first: {1, 28, 28}, {3, 32, 32} or {features}
  std::uint32_t classes = 0;
  std::vector<std::uint8_t> bytes;   // pixels as stored, rows x example size; or empty
  std::vector<float> floats;         // the same as float32, when the source is float; or empty
  std::vector<std::uint32_t> labels; // one a row, below `classes`
  std::vector<std::uint32_t> groups; // natural client (writer, column value) of a row; empty when the source has none
  std::vector<std::string> group_names;

  std::size_t rows() const { return labels.size(); }
  std::size_t example_size() const {
    std::size_t n = 1;
    for (std::uint32_t extent : shape) n *= extent;
    return n;
  }
  // Example r as float32: pixels scaled to [0, 1], floats as they are. `out` is example_size() long.
  void example(std::size_t row, std::span<float> out) const;
};

// Reads a data source by what it is:
//   a folder with {train,t10k}-{images-idx3,labels-idx1}-ubyte[.gz]  IDX (MNIST and its kin)
//   a folder or file *.bin[.xz]                                      CIFAR binary records
//   FILE.csv    a header line; the column named `label` (or the last) is the class, the rest are numbers
//   FILE.safetensors   tensors `x` and `y`
//   procedural:SEED:WRITERS:EXAMPLES   the set that Shoal makes itself (data/procedural.h)
// `split` is "train" or "test". kNotFound, kCorrupt or kInvalid, each naming the file and the byte, row or tensor.
Result<Dataset> read_dataset(const std::string& source, const std::string& split);

}  // namespace shoal::client::data
