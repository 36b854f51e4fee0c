#include "simulator/run_folder.h"

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <tuple>

#include "base/archive.h"

namespace shoal::simulator {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMagic = 0x31544e494f504b43;  // "CKPOINT1"

Status append_line(const std::string& path, std::string_view line) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "ae"), std::fclose);
  if (file == nullptr) return errno_error(ErrorCode::kFailed, "cannot open " + path, errno);
  const std::string text = std::string(line) + "\n";
  if (std::fwrite(text.data(), 1, text.size(), file.get()) != text.size() || std::fflush(file.get()) != 0)
    return errno_error(ErrorCode::kExhausted, "cannot write " + path, errno);
  return {};
}

// Whole or not at all.
Status replace_file(const std::string& path, std::string_view bytes) {
  const std::string fresh = path + ".new";
  std::ofstream out(fresh, std::ios::binary | std::ios::trunc);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  out.close();
  if (!out) return errno_error(ErrorCode::kExhausted, "cannot write " + fresh, errno);
  std::error_code error;
  fs::rename(fresh, path, error);
  if (error) return Error(ErrorCode::kFailed, "cannot rename " + fresh + ": " + error.message());
  return {};
}

// The shortest text that reads back as the same number.
std::string number(double value) {
  std::array<char, 32> buffer;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr;
  return {buffer.data(), end};
}

class JsonLine {
 public:
  JsonLine& add(std::string_view key, std::string_view value) {
    text_ += (text_.empty() ? "{\"" : ",\"") + std::string(key) + "\":" + std::string(value);
    return *this;
  }
  JsonLine& add(std::string_view key, double value) { return add(key, std::string_view(number(value))); }
  template <std::integral T>
  JsonLine& add(std::string_view key, T value) {
    return add(key, std::string_view(std::to_string(value)));
  }
  JsonLine& quoted(std::string_view key, std::string_view value) { return add(key, "\"" + std::string(value) + "\""); }
  std::string done() && { return std::move(text_) + "}"; }

 private:
  std::string text_;
};

double accuracy(const protocol::EvaluationFacts& facts) {
  return static_cast<double>(facts.correct) / static_cast<double>(facts.samples);
}

}  // namespace

std::string to_json(const RoundRecord& record) {
  JsonLine line;
  line.add("round", record.round).add("version", record.version);
  line.add("virtual_seconds", to_seconds(record.at.time_since_epoch()));
  line.add("bytes_up", record.total.up).add("bytes_down", record.total.down).add("steps", record.steps);
  if (record.test && record.test->samples > 0) {
    line.add("accuracy", accuracy(*record.test));
    line.add("loss", record.test->loss_sum / static_cast<double>(record.test->samples));
  }
  if (record.devices && record.devices->samples > 0) line.add("device_accuracy", accuracy(*record.devices));
  line.add("train_loss", record.train_loss);
  line.add("received", record.received).add("failed", record.failed).add("outstanding", record.outstanding);
  std::string refused;
  for (const auto& [refusal, count] : record.refused)
    refused +=
        (refused.empty() ? "\"" : ",\"") + std::string(protocol::text_of(refusal).name) + "\":" + std::to_string(count);
  line.add("refused", record.refusals()).add("reasons", "{" + refused + "}");
  line.add("staleness", record.staleness).add("norm", record.norm).quoted("digest", record.digest.hex());
  return std::move(line).done();
}

Result<RunFolder> RunFolder::create(const std::string& path, std::string_view config) {
  RunFolder folder(path);
  std::error_code error;
  if (fs::exists(folder.file("config.toml"), error))
    return Error(ErrorCode::kInvalid,
                 path + " holds a run already; continue it with --resume, or choose another --out");
  fs::create_directories(path, error);
  if (error) return Error(ErrorCode::kFailed, "cannot make the folder " + path + ": " + error.message());
  SHOAL_TRY(replace_file(folder.file("config.toml"), config));
  return folder;
}

Result<RunFolder> RunFolder::open(const std::string& path) {
  RunFolder folder(path);
  std::error_code error;
  if (!fs::exists(folder.file("config.toml"), error))
    return Error(ErrorCode::kNotFound, path + " holds no run: there is no config.toml in it");
  return folder;
}

Status RunFolder::append_metrics(const RoundRecord& record) {
  return append_line(file("metrics.jsonl"), to_json(record));
}
Status RunFolder::append_log(std::string_view line) { return append_line(file("log.txt"), line); }

Status RunFolder::save_checkpoint(std::string_view state) {
  std::error_code error;
  const std::uint64_t length = fs::file_size(file("metrics.jsonl"), error);
  Encoder encoder;
  encoder(kMagic, error ? std::uint64_t{0} : length, std::string(state));
  return replace_file(file("checkpoint"), encoder.bytes());
}

Result<std::string> RunFolder::load_checkpoint() {
  std::ifstream in(file("checkpoint"), std::ios::binary);
  if (!in) return Error(ErrorCode::kNotFound, path_ + " has no checkpoint: its run is complete, or never got that far");
  std::ostringstream bytes;
  bytes << in.rdbuf();
  std::uint64_t magic = 0, length = 0;
  std::string state;
  const std::string text = std::move(bytes).str();
  Decoder decoder(text);
  decoder(magic, length, state);
  std::error_code error;
  const std::string metrics = file("metrics.jsonl");
  const bool fits =
      magic == kMagic && decoder.at_end() && (length == 0 || fs::file_size(metrics, error) >= length) && !error;
  if (!fits)
    return Error(ErrorCode::kCorrupt, file("checkpoint") + " is damaged, or metrics.jsonl is shorter than it was");
  if (fs::exists(metrics, error)) fs::resize_file(metrics, length, error);
  if (error) return Error(ErrorCode::kFailed, "cannot cut " + metrics + " back to the checkpoint: " + error.message());
  return state;
}

void RunFolder::remove_checkpoint() {
  std::error_code ignored;
  fs::remove(file("checkpoint"), ignored);
}

}  // namespace shoal::simulator
