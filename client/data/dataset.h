// Labelled examples in memory, as every reader delivers them and every trainer takes them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/units.h"

namespace shoal::client::data {

// Row r is example r. Immutable after a reader returns it; shared between threads by const reference.
struct Dataset {
  std::vector<std::uint32_t> shape;  // of one example, channels first: {1, 28, 28}, {3, 32, 32} or {features}
  std::uint32_t classes = 0;
  std::vector<std::uint8_t> bytes;    // pixels as stored, rows x example size; or empty
  std::vector<float> floats;          // the same as float32, when the source is float; or empty
  std::vector<std::uint8_t> tokens;   // of a text, in place of the two: ids, whose windows are the examples and overlap
  std::vector<std::uint32_t> starts;  // where in `tokens` each example begins; ascending
  std::vector<std::uint32_t> labels;  // one a row, below `classes`
  std::vector<std::uint32_t> groups;  // natural client (writer, column value) of a row; empty when the source has none
  std::vector<std::string> group_names;

  std::size_t rows() const { return labels.size(); }
  std::size_t example_size() const {
    std::size_t n = 1;
    for (std::uint32_t extent : shape) n *= extent;
    return n;
  }
  // Example r as float32: pixels scaled to [0, 1], floats and token ids as they are. `out` is example_size() long.
  void example(std::size_t row, std::span<float> out) const;
  // Leaves only `rows` (ascending) and gives the rest of the memory back.
  void keep(std::span<const std::uint32_t> rows);
  std::uint64_t bytes_in_memory() const;
};

// Rows, shapes and labels agree with each other and every float is finite: what each reader ends with.
Status check_dataset(const Dataset& dataset, const std::string& source);

// Appends `more`, whose classes become new ones after those of `to`. Natural clients are forgotten. kInvalid when its
// examples have another shape, or are floats where those of `to` are pixels; texts have one vocabulary anyway.
Status append(Dataset& to, const Dataset& more);

struct ReadOptions {
  std::string label_column = "label";    // CSV; without a column of that name the last one
  std::string client_column;             // CSV: the column whose values are natural clients; empty: none
  std::vector<std::string> class_names;  // CSV: labels in class order; empty: integers from 0, or sorted words. Devices
                                         // that each see some classes only must agree on them here or use integers
  std::uint32_t window = 80;             // text: characters of an example; the next one is its label
  std::uint32_t window_step = 1;         // text: characters from one window to the next
  Bytes memory_limit{std::uint64_t{2} << 30};  // examples and labels in memory; a source that needs more is refused
};

// Reads a data source by what it is:
//   a folder with {train,t10k}-{images-idx3,labels-idx1}-ubyte[.gz]   IDX (MNIST and its kin)
//   a folder with data_batch*.bin[.xz] and test_batch*.bin[.xz], or one such file   CIFAR-10 binary records
//   FILE.csv           a header line; one column is the class, another may be the natural client, the rest are numbers
//   FILE.safetensors   tensors `x` [rows, ...] and `y` [rows]; `groups` [rows] if it has one
//   FILE.txt           text in windows of characters (data/characters.h), each with the next one as its class; a
//                      play's speakers are the natural clients
//   procedural:SEED:WRITERS:EXAMPLES   the set that Shoal makes itself; WRITERS is a count or a range A..B
//   (data/procedural.h)
// `split` is "train" or "test". "{split}" in a file's name is replaced by it; a single file without that holds training
// data only, and a test split is cut from it per client (split_rows in data/partition.h). kNotFound, kCorrupt, kInvalid
// or kExhausted (over the memory limit), each naming the file and the byte, row or tensor.
Result<Dataset> read_dataset(const std::string& source, const std::string& split, const ReadOptions& options = {});

}  // namespace shoal::client::data
