// CSV: a header line, then one example a line.
#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "client/data/readers.h"

namespace shoal::client::data {
namespace {

constexpr std::size_t kMaxLineBytes = std::size_t{1} << 20;
constexpr std::size_t kMaxColumns = 65536;
constexpr std::uint32_t kMaxClasses = 65536;

// Lines without their ends; counts them for messages.
class LineReader {
 public:
  explicit LineReader(ByteSource& source) : source_(source) {}

  std::uint64_t number() const { return number_; }  // of the line last returned, from 1

  // False at the end. The line is valid until the next call.
  Result<bool> next(std::string_view& line) {
    ++number_;
    line_.clear();
    for (;;) {
      const auto begin = buffer_.begin() + at_, end = buffer_.begin() + filled_;
      const auto newline = std::find(begin, end, '\n');
      line_.append(begin, newline);
      at_ = newline - buffer_.begin();
      if (line_.size() > kMaxLineBytes) return bad("it is longer than 1 MiB");
      if (newline != end) {
        ++at_;
        break;
      }
      SHOAL_TRY_ASSIGN(const std::size_t got, source_.read(std::span(buffer_)));
      at_ = 0;
      filled_ = static_cast<std::ptrdiff_t>(got);
      if (got > 0) continue;
      if (line_.empty()) return false;
      break;
    }
    if (line_.ends_with('\r')) line_.pop_back();
    line = line_;
    return true;
  }

  Error bad(std::string why) const {
    return Error(ErrorCode::kInvalid, source_.name() + ", line " + std::to_string(number_) + ": " + std::move(why));
  }

 private:
  ByteSource& source_;
  std::array<std::uint8_t, 64 * 1024> buffer_{};
  std::ptrdiff_t at_ = 0, filled_ = 0;
  std::string line_;
  std::uint64_t number_ = 0;
};

// Cells of one line; the strings are reused from line to line.
Status split_cells(const LineReader& lines, std::string_view line, std::vector<std::string>& cells) {
  std::size_t count = 0;
  bool more = true;
  while (more) {
    if (count == kMaxColumns) return lines.bad("it has more than 65536 columns");
    if (count == cells.size()) cells.emplace_back();
    std::string& cell = cells[count++];
    cell.clear();
    if (line.starts_with('"')) {
      std::size_t at = 1;
      for (;; ++at) {
        if (at >= line.size()) return lines.bad("a quote is not closed");
        if (line[at] == '"' && (at + 1 == line.size() || line[at + 1] != '"')) break;
        if (line[at] == '"') ++at;  // a doubled quote is one quote
        cell += line[at];
      }
      line.remove_prefix(at + 1);
      if (!line.empty() && line[0] != ',') return lines.bad("a comma must follow a closing quote");
    } else {
      const std::size_t comma = std::min(line.find(','), line.size());
      cell = line.substr(0, comma);
      line.remove_prefix(comma);
      const std::size_t first = cell.find_first_not_of(" \t");
      cell = first == std::string::npos ? "" : cell.substr(first, cell.find_last_not_of(" \t") - first + 1);
    }
    more = !line.empty();
    if (more) line.remove_prefix(1);
  }
  cells.resize(count);
  return {};
}

struct Columns {
  std::size_t label = 0;
  std::optional<std::size_t> client;
  std::size_t count = 0;
};

Result<Columns> find_columns(const LineReader& lines, const std::vector<std::string>& names,
                             const ReadOptions& options) {
  Columns columns{.label = names.size() - 1, .client = std::nullopt, .count = names.size()};
  const auto label = std::find(names.begin(), names.end(), options.label_column);
  if (label != names.end()) columns.label = static_cast<std::size_t>(label - names.begin());
  if (!options.client_column.empty()) {
    const auto client = std::find(names.begin(), names.end(), options.client_column);
    if (client == names.end()) return lines.bad("no column is called '" + options.client_column + "'");
    columns.client = static_cast<std::size_t>(client - names.begin());
    if (columns.client == columns.label) return lines.bad("label and natural client are the same column");
  }
  if (names.size() < (columns.client ? 3u : 2u)) return lines.bad("no column is left for the numbers");
  return columns;
}

// Numbers words in the order of their first appearance.
class Dictionary {
 public:
  std::uint32_t number_of(const std::string& word) {
    const auto [place, added] = numbers_.try_emplace(word, static_cast<std::uint32_t>(words_.size()));
    if (added) words_.push_back(word);
    return place->second;
  }
  const std::vector<std::string>& words() const { return words_; }

 private:
  std::unordered_map<std::string, std::uint32_t> numbers_;
  std::vector<std::string> words_;
};

std::optional<std::uint32_t> as_class(const std::string& word) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc{} || end != word.data() + word.size() || value >= kMaxClasses) return std::nullopt;
  return value;
}

// The class of every label word, and how many classes there are.
Result<std::vector<std::uint32_t>> classes_of(const std::vector<std::string>& words, const ReadOptions& options,
                                              const std::string& source, std::uint32_t& classes) {
  std::vector<std::string> names = options.class_names;
  const bool integers =
      std::all_of(words.begin(), words.end(), [](const std::string& w) { return as_class(w).has_value(); });
  if (names.empty() && !integers) {
    names = words;
    std::sort(names.begin(), names.end());
  }
  std::unordered_map<std::string, std::uint32_t> numbers;
  for (const std::string& name : names) numbers.try_emplace(name, static_cast<std::uint32_t>(numbers.size()));
  std::vector<std::uint32_t> result;
  classes = static_cast<std::uint32_t>(numbers.size());
  for (const std::string& word : words) {
    if (names.empty()) {
      result.push_back(*as_class(word));
      classes = std::max(classes, result.back() + 1);
      continue;
    }
    const auto found = numbers.find(word);
    if (found == numbers.end())
      return Error(ErrorCode::kInvalid, source + ": label '" + word + "' is none of the class names that were given");
    result.push_back(found->second);
  }
  return result;
}

}  // namespace

Result<Dataset> read_csv(ByteSource& text, const ReadOptions& options) {
  LineReader lines(text);
  std::string_view line;
  std::vector<std::string> cells;
  SHOAL_TRY_ASSIGN(const bool has_header, lines.next(line));
  if (!has_header) return lines.bad("the file is empty");
  SHOAL_TRY(split_cells(lines, line, cells));
  SHOAL_TRY_ASSIGN(const Columns columns, find_columns(lines, cells, options));

  Dataset dataset;
  dataset.shape = {static_cast<std::uint32_t>(columns.count - (columns.client ? 2 : 1))};
  Dictionary labels, clients;
  for (;;) {
    SHOAL_TRY_ASSIGN(const bool more, lines.next(line));
    if (!more) break;
    if (line.empty()) continue;
    SHOAL_TRY(split_cells(lines, line, cells));
    if (cells.size() != columns.count)
      return lines.bad("it has " + std::to_string(cells.size()) + " cells, the header " +
                       std::to_string(columns.count));
    for (std::size_t i = 0; i < cells.size(); ++i) {
      if (i == columns.label || i == columns.client) continue;
      float value = 0;
      const auto [end, error] = std::from_chars(cells[i].data(), cells[i].data() + cells[i].size(), value);
      if (error != std::errc{} || end != cells[i].data() + cells[i].size())
        return lines.bad("column " + std::to_string(i + 1) + " holds '" + cells[i].substr(0, 40) + "', not a number");
      dataset.floats.push_back(value);
    }
    dataset.labels.push_back(labels.number_of(cells[columns.label]));
    if (columns.client) dataset.groups.push_back(clients.number_of(cells[*columns.client]));
    if (labels.words().size() > kMaxClasses) return lines.bad("there are more than 65536 different labels");
    if ((dataset.floats.size() + dataset.labels.size() + dataset.groups.size()) * 4 > options.memory_limit.count)
      return Error(ErrorCode::kExhausted, text.name() + ", line " + std::to_string(lines.number()) +
                                              ": over the memory limit of " + human_bytes(options.memory_limit.count));
  }
  SHOAL_TRY_ASSIGN(const std::vector<std::uint32_t> classes,
                   classes_of(labels.words(), options, text.name(), dataset.classes));
  for (std::uint32_t& label : dataset.labels) label = classes[label];
  dataset.group_names = clients.words();
  SHOAL_TRY(check_dataset(dataset, text.name()));
  return dataset;
}

}  // namespace shoal::client::data
