#include "coordinator/history.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

namespace shoal::coordinator {
namespace {

std::string file_of(const std::string& folder, JobId job) {
  return folder + "/job-" + std::to_string(job.value) + ".jsonl";
}

std::optional<HistoryRow> parse(const std::string& line) {
  const auto json = nlohmann::json::parse(line, nullptr, false);
  if (!json.is_object() || !json.contains("version") || !json["version"].is_number_unsigned()) return std::nullopt;
  const auto number = [&](const char* key) {
    const auto found = json.find(key);
    return found != json.end() && found->is_number() ? found->get<double>() : 0.0;
  };
  const auto maybe = [&](const char* key) -> std::optional<double> {
    const auto found = json.find(key);
    if (found == json.end() || !found->is_number()) return std::nullopt;
    return found->get<double>();
  };
  HistoryRow row;
  row.version = json["version"].get<Version>();
  row.seconds = number("seconds");
  row.received = static_cast<std::uint32_t>(number("received"));
  row.refused = static_cast<std::uint32_t>(number("refused"));
  row.failed = static_cast<std::uint32_t>(number("failed"));
  row.train_loss = number("train_loss");
  row.staleness = number("staleness");
  row.bytes_up = static_cast<std::uint64_t>(number("bytes_up"));
  row.bytes_down = static_cast<std::uint64_t>(number("bytes_down"));
  row.accuracy = maybe("accuracy");
  row.loss = maybe("loss");
  row.evaluated = static_cast<std::uint32_t>(number("evaluated"));
  return row;
}

}  // namespace

std::string HistoryRow::to_json() const {
  nlohmann::ordered_json json;
  json["round"] = version;
  json["version"] = version;
  json["seconds"] = seconds;
  json["received"] = received;
  json["refused"] = refused;
  json["failed"] = failed;
  json["train_loss"] = train_loss;
  json["staleness"] = staleness;
  json["bytes_up"] = bytes_up;
  json["bytes_down"] = bytes_down;
  if (accuracy) json["accuracy"] = *accuracy;
  if (loss) json["loss"] = *loss;
  if (evaluated > 0) json["evaluated"] = evaluated;
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Result<History> History::open(const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return Error(ErrorCode::kInvalid, "cannot make the folder " + folder + ": " + error.message());
  History history(folder);
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    unsigned long long job = 0;
    if (std::sscanf(name.c_str(), "job-%llu.jsonl", &job) != 1) continue;
    std::ifstream in(entry.path());
    for (std::string line; std::getline(in, line);)
      if (auto row = parse(line)) history.rows_[JobId{job}].insert_or_assign(row->version, *row);
  }
  return history;
}

void History::put(JobId job, const HistoryRow& row) {
  rows_[job].insert_or_assign(row.version, row);
  std::ofstream out(file_of(folder_, job), std::ios::app);
  out << row.to_json() << '\n';
}

std::vector<HistoryRow> History::rows(JobId job, Version after) const {
  std::vector<HistoryRow> found;
  const auto of_job = rows_.find(job);
  if (of_job == rows_.end()) return found;
  for (auto it = of_job->second.upper_bound(after); it != of_job->second.end(); ++it) found.push_back(it->second);
  return found;
}

std::optional<HistoryRow> History::row(JobId job, Version version) const {
  const auto of_job = rows_.find(job);
  if (of_job == rows_.end()) return std::nullopt;
  const auto found = of_job->second.find(version);
  if (found == of_job->second.end()) return std::nullopt;
  return found->second;
}

protocol::Traffic History::traffic(JobId job) const {
  protocol::Traffic most;
  const auto of_job = rows_.find(job);
  if (of_job == rows_.end()) return most;
  for (const auto& [version, row] : of_job->second)
    most = {std::max(most.up, row.bytes_up), std::max(most.down, row.bytes_down)};
  return most;
}

}  // namespace shoal::coordinator
