// The picture of one run or several: a self-contained HTML page with plots, configuration differences and final
// figures.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace shoal::simulator {

// Reads each run folder's metrics.jsonl and config.toml; nothing else, so an export of a live job serves as well.
// kNotFound or kCorrupt naming the file and line, kInvalid without runs.
Result<void> write_report(const std::vector<std::string>& run_folders, const std::string& out);

}  // namespace shoal::simulator
