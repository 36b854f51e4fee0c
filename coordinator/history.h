// What each job's rounds were like: rows for `job show`, `job follow` and exports, one JSON line each in a file a job.
//
// Nothing depends on these rows; the file is appended without a sync, and a torn last line is skipped.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "protocol/transport.h"

namespace shoal::coordinator {

struct HistoryRow {
  Version version = 0;  // that the round made
  double seconds = 0;   // machine time of its commit
  std::uint32_t received = 0, refused = 0, failed = 0;
  double train_loss = 0;                       // of the folded updates, weighted by samples
  double staleness = 0;                        // mean, in versions
  std::uint64_t bytes_up = 0, bytes_down = 0;  // the job's on both planes since it began; they never fall
  std::optional<double> accuracy, loss;        // on devices' test splits
  std::uint32_t evaluated = 0;                 // devices

  std::string to_json() const;  // one line, without the newline
};

// Owner thread.
class History {
 public:
  // Reads what the folder holds (job-N.jsonl); makes the folder if need be.
  static Result<History> open(const std::string& folder);

  // Appends, or replaces the row of the same version (the file then has both; the later one counts).
  void put(JobId job, const HistoryRow& row);
  // In order of version; empty for an unknown job.
  std::vector<HistoryRow> rows(JobId job, Version after = 0) const;
  std::optional<HistoryRow> row(JobId job, Version version) const;
  // The most bytes that a row of the job tells: where counting goes on after a restart. What was moved after that row,
  // before the restart, is not counted.
  protocol::Traffic traffic(JobId job) const;

 private:
  explicit History(std::string folder) : folder_(std::move(folder)) {}

  std::string folder_;
  std::map<JobId, std::map<Version, HistoryRow>> rows_;
};

}  // namespace shoal::coordinator
