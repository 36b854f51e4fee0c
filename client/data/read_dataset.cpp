// Which reader a data source wants, by its name and by what lies in the folder.
#include <algorithm>
#include <charconv>
#include <filesystem>
#include <optional>
#include <vector>

#include "client/data/procedural.h"
#include "client/data/readers.h"

namespace shoal::client::data {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kProcedural = "procedural:";

Error not_found(const std::string& source, std::string why) {
  return Error(ErrorCode::kNotFound, "data source " + source + ": " + std::move(why));
}

// The path itself or with a compressed ending, whichever is there.
std::optional<std::string> existing(const fs::path& path) {
  std::error_code failed;
  for (const char* ending : {"", ".gz", ".xz"})
    if (fs::is_regular_file(path.string() + ending, failed)) return path.string() + ending;
  return std::nullopt;
}

template <class T>
bool parse_number(std::string_view text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size();
}

Result<Dataset> read_procedural(const std::string& source, const std::string& split, Bytes memory_limit) {
  ProceduralOptions options{.test = split == "test"};
  std::string_view rest = std::string_view(source).substr(kProcedural.size());
  const auto field = [&] {
    const std::size_t end = std::min(rest.find(':'), rest.size());
    const std::string_view text = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    return text;
  };
  const std::string_view seed = field(), writers = field(), examples = field();
  const std::size_t dots = writers.find("..");
  bool good = parse_number(seed, options.seed) && parse_number(examples, options.examples) && rest.empty();
  if (dots == std::string_view::npos) {
    good = good && parse_number(writers, options.writers);
  } else {
    std::uint32_t last = 0;
    good = good && parse_number(writers.substr(0, dots), options.first_writer) &&
           parse_number(writers.substr(dots + 2), last) && last >= options.first_writer && last != UINT32_MAX;
    options.writers = last - options.first_writer + 1;
  }
  if (!good)
    return Error(ErrorCode::kInvalid,
                 "data source " + source + ": want procedural:SEED:WRITERS:EXAMPLES, where WRITERS is a count or A..B");
  const std::uint64_t needed = std::uint64_t{options.writers} * options.examples * kGlyphEdge * kGlyphEdge;
  if (needed > memory_limit.count)
    return Error(ErrorCode::kExhausted, "data source " + source + ": it needs " + human_bytes(needed) +
                                            ", more than the memory limit of " + human_bytes(memory_limit.count));
  return make_procedural(options);
}

Result<Dataset> read_idx_folder(const fs::path& folder, const std::string& prefix, const ReadOptions& options) {
  const auto images_path = existing(folder / (prefix + "-images-idx3-ubyte"));
  const auto labels_path = existing(folder / (prefix + "-labels-idx1-ubyte"));
  if (!images_path || !labels_path)
    return not_found(folder.string(), prefix + "-images-idx3-ubyte or " + prefix + "-labels-idx1-ubyte is missing");
  SHOAL_TRY_ASSIGN(const auto images, open_bytes(*images_path));
  SHOAL_TRY_ASSIGN(const auto labels, open_bytes(*labels_path));
  return read_idx(*images, *labels, options.memory_limit);
}

Result<Dataset> read_cifar_files(const std::vector<std::string>& paths, const ReadOptions& options) {
  Dataset dataset;
  for (const std::string& path : paths) {
    SHOAL_TRY_ASSIGN(const auto records, open_bytes(path));
    SHOAL_TRY(read_cifar(*records, options.memory_limit, dataset));
  }
  SHOAL_TRY(check_dataset(dataset, paths.front()));
  return dataset;
}

// data_batch* or test_batch* in a folder, in name order.
std::vector<std::string> cifar_files(const fs::path& folder, const std::string& split) {
  std::vector<std::string> paths;
  std::error_code failed;
  for (fs::directory_iterator at(folder, failed), end; !failed && at != end; at.increment(failed)) {
    const std::string name = at->path().filename().string();
    if (name.starts_with(split == "test" ? "test_batch" : "data_batch") &&
        (name.ends_with(".bin") || name.ends_with(".bin.xz") || name.ends_with(".bin.gz")))
      paths.push_back(at->path().string());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

Result<Dataset> read_folder(const fs::path& folder, const std::string& split, const ReadOptions& options) {
  const std::string prefix = split == "test" ? "t10k" : "train";
  if (existing(folder / (prefix + "-images-idx3-ubyte"))) return read_idx_folder(folder, prefix, options);
  const std::vector<std::string> cifar = cifar_files(folder, split);
  if (!cifar.empty()) return read_cifar_files(cifar, options);
  return not_found(folder.string(), "the folder has neither " + prefix + "-images-idx3-ubyte[.gz] nor " +
                                        (split == "test" ? "test" : "data") + "_batch*.bin[.xz]");
}

Result<Dataset> read_file(const std::string& path, const ReadOptions& options) {
  std::string plain = path;
  if (plain.ends_with(".gz") || plain.ends_with(".xz")) plain.resize(plain.size() - 3);
  if (plain.ends_with(".bin")) return read_cifar_files({path}, options);
  if (plain.ends_with(".safetensors")) return read_safetensors_data(path, options);
  if (plain.ends_with(".csv")) {
    SHOAL_TRY_ASSIGN(const auto text, open_bytes(path));
    return read_csv(*text, options);
  }
  if (plain.ends_with(".txt")) {
    SHOAL_TRY_ASSIGN(const auto text, open_bytes(path));
    return read_text(*text, options);
  }
  return Error(ErrorCode::kInvalid,
               "data source " + path + ": its ending is none of .csv, .safetensors, .txt, .bin (with .gz or .xz)");
}

}  // namespace

Result<Dataset> read_dataset(const std::string& source, const std::string& split, const ReadOptions& options) {
  if (split != "train" && split != "test")
    return Error(ErrorCode::kInvalid, "data split '" + split + "' is neither train nor test");
  if (source.starts_with(kProcedural)) return read_procedural(source, split, options.memory_limit);

  constexpr std::string_view kPlaceholder = "{split}";
  std::string path = source;
  const std::size_t place = path.find(kPlaceholder);
  if (place != std::string::npos) path.replace(place, kPlaceholder.size(), split);

  std::error_code failed;
  if (fs::is_directory(path, failed)) return read_folder(path, split, options);
  if (!fs::exists(path, failed)) return not_found(path, "there is no such file or folder");
  if (place == std::string::npos && split == "test")
    return not_found(path, "a single file holds training data; name it with {split}, or set a test fraction aside");
  return read_file(path, options);
}

}  // namespace shoal::client::data
