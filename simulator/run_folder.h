// The folder that a run leaves behind, and continues from.
//
//   config.toml        the effective configuration
//   metrics.jsonl      one line a version; equal runs write equal bytes
//   log.txt            what happened, with wall time; seed, build and model digest in its first and last line
//   checkpoint         the run's state while it is not complete
//   model.safetensors, report.html   at the end
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "simulator/engine.h"

namespace shoal::simulator {

class RunFolder {
 public:
  // A new folder with this configuration. kInvalid when it holds a run already.
  static Result<RunFolder> create(const std::string& path, std::string_view config);
  // One that create() made. kNotFound.
  static Result<RunFolder> open(const std::string& path);

  const std::string& path() const { return path_; }
  std::string file(std::string_view name) const { return path_ + "/" + std::string(name); }

  Status append_metrics(const RoundRecord& record);
  Status append_log(std::string_view line);

  // The checkpoint remembers how far metrics.jsonl was; load_checkpoint() cuts it back to there. Replaced atomically.
  Status save_checkpoint(std::string_view state);
  Result<std::string> load_checkpoint();  // kNotFound: there is none; kCorrupt
  void remove_checkpoint();

 private:
  explicit RunFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

// One line of metrics.jsonl, without its newline.
std::string to_json(const RoundRecord& record);

}  // namespace shoal::simulator
