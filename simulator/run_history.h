// What a run folder tells about its run: the curves of metrics.jsonl and the keys of config.toml.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace shoal::simulator {

// One line of metrics.jsonl. A live job's export has `seconds` for `virtual_seconds`; bytes count from the beginning.
struct HistoryPoint {
  std::uint64_t version = 0;
  double seconds = 0;
  double bytes_up = 0, bytes_down = 0;
  std::optional<double> accuracy, loss;  // central test set
  double train_loss = 0;
  std::uint64_t received = 0, refused = 0, failed = 0;
  double staleness = 0;
};

struct RunHistory {
  std::string name;  // of the folder
  std::vector<HistoryPoint> points;
  std::map<std::string, std::string> config;  // "population.devices" to the value as written
  std::string digest;                         // of the last model
};

// kNotFound or kCorrupt, naming file and line.
Result<RunHistory> read_history(const std::string& folder);

}  // namespace shoal::simulator
