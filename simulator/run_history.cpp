#include "simulator/run_history.h"

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string_view>

namespace shoal::simulator {
namespace {

namespace fs = std::filesystem;

std::string_view trimmed(std::string_view text) {
  const auto begin = text.find_first_not_of(" \t\r");
  return begin == std::string_view::npos ? std::string_view{}
                                         : text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

// A value up to its comment; a '#' within quotes is no comment.
std::string_view without_comment(std::string_view text) {
  char quote = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (quote != 0) {
      if (text[i] == '\\' && quote == '"')
        ++i;
      else if (text[i] == quote)
        quote = 0;
    } else if (text[i] == '"' || text[i] == '\'') {
      quote = text[i];
    } else if (text[i] == '#') {
      return text.substr(0, i);
    }
  }
  return text;
}

// The plain TOML that effective configurations are printed in: tables and one key a line.
std::map<std::string, std::string> read_config(const std::string& path) {
  std::map<std::string, std::string> config;
  std::ifstream in(path);
  std::string prefix;
  for (std::string text; std::getline(in, text);) {
    const std::string_view line = trimmed(without_comment(text));
    const auto equals = line.find('=');
    if (line.starts_with('[') && line.ends_with(']')) {
      prefix = std::string(line.substr(1, line.size() - 2)) + ".";
    } else if (equals != std::string_view::npos) {
      config[prefix + std::string(trimmed(line.substr(0, equals)))] = trimmed(line.substr(equals + 1));
    }
  }
  return config;
}

std::optional<double> maybe(const nlohmann::json& line, const char* key) {
  const auto found = line.find(key);
  return found == line.end() || !found->is_number() ? std::nullopt : std::optional(found->get<double>());
}

HistoryPoint point_of(const nlohmann::json& line) {
  HistoryPoint point;
  point.version = line.at("version").get<std::uint64_t>();
  point.seconds = maybe(line, "virtual_seconds").value_or(maybe(line, "seconds").value_or(0));
  point.bytes_up = maybe(line, "bytes_up").value_or(0);
  point.bytes_down = maybe(line, "bytes_down").value_or(0);
  point.accuracy = maybe(line, "accuracy");
  point.loss = maybe(line, "loss");
  point.train_loss = maybe(line, "train_loss").value_or(0);
  point.received = line.value("received", std::uint64_t{0});
  point.refused = line.value("refused", std::uint64_t{0});
  point.failed = line.value("failed", std::uint64_t{0});
  point.staleness = maybe(line, "staleness").value_or(0);
  return point;
}

}  // namespace

Result<RunHistory> read_history(const std::string& folder) {
  RunHistory run;
  fs::path path = fs::path(folder).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  run.name = path.filename().string();
  const std::string metrics = folder + "/metrics.jsonl";
  std::ifstream in(metrics);
  std::error_code error;
  if (!in && !fs::is_directory(folder, error)) return Error(ErrorCode::kNotFound, "there is no run folder " + folder);
  std::size_t number = 0;
  for (std::string text; std::getline(in, text);) {
    ++number;
    // The library's exceptions stop here.
    try {
      const nlohmann::json line = nlohmann::json::parse(text);
      run.points.push_back(point_of(line));
      run.digest = line.value("digest", std::string());
    } catch (const nlohmann::json::exception& e) {
      return Error(ErrorCode::kCorrupt,
                   metrics + " line " + std::to_string(number) + " is not a line of metrics: " + e.what());
    }
  }
  run.config = read_config(folder + "/config.toml");
  return run;
}

}  // namespace shoal::simulator
