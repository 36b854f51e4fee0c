// Plain text as windows of characters. A play is told by its first line, "NAME:": then each such line after an empty
// one begins a speech, and all speeches of a name are one client's text.
#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "client/data/characters.h"
#include "client/data/readers.h"

namespace shoal::client::data {
namespace {

constexpr std::size_t kMaxNameBytes = 64;

// "First Citizen:" is spoken by "First Citizen"; empty for any other line.
std::string_view speaker_in(std::string_view line) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  if (line.size() < 2 || line.size() > kMaxNameBytes || !line.ends_with(':')) return {};
  line.remove_suffix(1);
  const auto is_letter = [](char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); };
  return is_letter(line[0]) && line.find(':') == std::string_view::npos ? line : std::string_view{};
}

// The ids of each speaker, or of the whole text.
class Speeches {
 public:
  explicit Speeches(ByteSource& source, Bytes memory_limit) : source_(source), memory_limit_(memory_limit) {}

  Status read() {
    std::array<std::uint8_t, 64 * 1024> buffer{};
    std::string line;
    for (;;) {
      SHOAL_TRY_ASSIGN(const std::size_t got, source_.read(buffer));
      for (const std::uint8_t byte : std::span(buffer).first(got)) {
        if (byte == 0) return Error(ErrorCode::kInvalid, source_.name() + ": it holds a byte of 0, which no text does");
        line += static_cast<char>(byte);
        // A line is looked at as a whole only while it may still name a speaker.
        if (byte == '\n' || line.size() > 2 * kMaxNameBytes) add(line, byte == '\n');
      }
      if (characters_ > memory_limit_.count)
        return Error(ErrorCode::kExhausted,
                     source_.name() + ": more than the memory limit of " + human_bytes(memory_limit_.count));
      if (got == 0) break;
    }
    if (!line.empty()) add(line, false);
    if (characters_ == 0) return Error(ErrorCode::kInvalid, source_.name() + ": there is no text in it");
    if (others_ > characters_ / 2)
      return Error(ErrorCode::kInvalid, source_.name() +
                                            ": more than half of its characters are not ASCII, and would "
                                            "all look the same to a model");
    return {};
  }

  bool is_play() const { return is_play_; }
  const std::vector<std::string>& names() const { return names_; }
  const std::vector<std::vector<std::uint8_t>>& texts() const { return texts_; }

 private:
  // Takes a line, or a piece of a long one.
  void add(std::string& line, bool ended) {
    const bool whole = ended && !inside_line_;
    const std::string_view text = std::string_view(line).substr(0, line.size() - (ended ? 1 : 0));
    if (whole && text.find_first_not_of("\r \t") == std::string_view::npos) {
      after_empty_ = true;
      if (is_play_) return line.clear();  // between two speeches
    } else {
      const std::string_view name = whole && after_empty_ && (is_play_ || texts_.empty()) ? speaker_in(text) : "";
      after_empty_ = false;
      if (!name.empty()) {
        is_play_ = true;
        begin_speech(std::string(name));
        return line.clear();
      }
    }
    if (texts_.empty()) texts_.emplace_back();
    for (const char byte : line)
      if (const auto id = character_of(static_cast<std::uint8_t>(byte))) {
        texts_[current_].push_back(*id);
        ++characters_;
        others_ += *id == kOtherCharacter;
      }
    inside_line_ = !ended;
    line.clear();
  }

  void begin_speech(std::string name) {
    const auto [place, added] = numbers_.try_emplace(name, texts_.size());
    current_ = place->second;
    if (!added) return;
    texts_.emplace_back();
    names_.push_back(std::move(name));
  }

  ByteSource& source_;
  Bytes memory_limit_;
  std::unordered_map<std::string, std::size_t> numbers_;
  std::vector<std::string> names_;
  std::vector<std::vector<std::uint8_t>> texts_;
  std::size_t current_ = 0;
  std::uint64_t characters_ = 0, others_ = 0;
  bool is_play_ = false, after_empty_ = true, inside_line_ = false;
};

}  // namespace

Result<Dataset> read_text(ByteSource& source, const ReadOptions& options) {
  if (options.window == 0 || options.window_step == 0)
    return Error(ErrorCode::kInvalid, source.name() + ": a window and its step have at least one character");
  Speeches speeches(source, options.memory_limit);
  SHOAL_TRY(speeches.read());
  Dataset dataset;
  dataset.shape = {options.window};
  dataset.classes = kCharacters;
  std::uint64_t rows = 0, characters = 0;
  for (const std::vector<std::uint8_t>& text : speeches.texts())
    if (text.size() > options.window) {
      rows += (text.size() - options.window - 1) / options.window_step + 1;
      characters += text.size();
    }
  if (rows == 0)
    return Error(ErrorCode::kInvalid, source.name() + ": " + (speeches.is_play() ? "no speaker's text" : "the text") +
                                          " is not longer than a window of " + std::to_string(options.window) +
                                          " characters; choose a smaller window");
  const std::uint64_t needed = 2 * characters + rows * 12;  // the text is there twice for a while
  if (needed > options.memory_limit.count || characters > UINT32_MAX)
    return Error(ErrorCode::kExhausted, source.name() + ": its windows need " + human_bytes(needed) +
                                            ", more than the memory limit of " +
                                            human_bytes(options.memory_limit.count) + "; take a larger window_step");
  dataset.tokens.reserve(characters);
  for (std::size_t t = 0; t < speeches.texts().size(); ++t) {
    const std::vector<std::uint8_t>& text = speeches.texts()[t];
    if (text.size() <= options.window) continue;
    const auto first = static_cast<std::uint32_t>(dataset.tokens.size());
    for (std::size_t at = 0; at + options.window < text.size(); at += options.window_step) {
      dataset.starts.push_back(first + static_cast<std::uint32_t>(at));
      dataset.labels.push_back(text[at + options.window]);
      if (speeches.is_play()) dataset.groups.push_back(static_cast<std::uint32_t>(dataset.group_names.size()));
    }
    if (speeches.is_play()) dataset.group_names.push_back(speeches.names()[t]);
    dataset.tokens.insert(dataset.tokens.end(), text.begin(), text.end());
  }
  SHOAL_TRY(check_dataset(dataset, source.name()));
  return dataset;
}

}  // namespace shoal::client::data
