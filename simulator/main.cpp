// shoal-sim: runs experiments in virtual time, and replays what a live coordinator did.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/steady_clock.h"
#include "base/units.h"
#include "cli/config.h"
#include "cli/program.h"
#include "cli/progress_bar.h"
#include "cli/stop_signals.h"
#include "coordinator/rocksdb/store.h"
#include "simulator/replay.h"
#include "simulator/run.h"

namespace {

using namespace shoal;

// The bar on a terminal, or about fifty plain lines in a log, however many rounds there are.
class Display final : public simulator::RunListener {
 public:
  Display(std::uint64_t rounds, const cli::Terminal& terminal)
      : rounds_(rounds), interactive_(terminal.interactive), bar_(stderr, terminal) {}

  void on_progress(const simulator::RoundRecord& record, Duration wall) override {
    if (record.test && record.test->samples > 0) {
      char text[32];
      std::snprintf(text, sizeof text, ", accuracy %.2f %%",
                    100.0 * static_cast<double>(record.test->correct) / static_cast<double>(record.test->samples));
      accuracy_ = text;
    }
    const bool last = record.version >= rounds_;
    const bool due = interactive_
                         ? !shown_ || wall - last_shown_ >= std::chrono::milliseconds(100)
                         : record.version == 1 || record.version % std::max<std::uint64_t>(1, rounds_ / 50) == 0;
    if (!due && !last) return;
    shown_ = true;
    last_shown_ = wall;
    std::string facts = "round " + std::to_string(record.version) + "/" + std::to_string(rounds_) + ", " +
                        human_duration(record.at.time_since_epoch()) + " virtual" + accuracy_ + ", " +
                        human_bytes(record.total.up) + " up, " + human_bytes(record.total.down) + " down";
    if (!interactive_)
      facts += ", received " + std::to_string(record.received) + " updates, " + std::to_string(record.refusals()) +
               " refused";
    bar_.show(static_cast<double>(record.version), static_cast<double>(rounds_), facts);
  }
  void on_notice(std::string_view line) override { bar_.say(line); }
  void finish() { bar_.finish(); }

 private:
  std::uint64_t rounds_;
  bool interactive_;
  cli::ProgressBar bar_;
  std::string accuracy_;
  bool shown_ = false;
  Duration last_shown_{};
};

struct RunArguments {
  std::string file, out, plugins;
  std::vector<std::string> settings;
  bool resume = false, print = false, json = false;
};

struct ReplayArguments {
  std::string folder;
  bool json = false;
};

// FILE with its --set; with --resume the folder's own configuration, of which only `workers` may change.
Status read_options(const RunArguments& arguments, const std::string& out, simulator::ExperimentOptions& options) {
  if (!arguments.resume && arguments.file.empty())
    return Error(ErrorCode::kInvalid, "name the experiment's file, for example configs/synthetic.toml");
  SHOAL_TRY(cli::load_file(arguments.resume ? out + "/config.toml" : arguments.file, options));
  for (const std::string& setting : arguments.settings) {
    if (arguments.resume && !setting.starts_with("workers="))
      return Error(ErrorCode::kInvalid, "--set " + setting +
                                            " would make another run of the one that --resume continues; "
                                            "only workers may change");
    SHOAL_TRY(cli::set(options, setting));
  }
  return check(options);
}

const char* name_of(simulator::RunEnd end) {
  switch (end) {
    case simulator::RunEnd::kCompleted: return "completed";
    case simulator::RunEnd::kTargetReached: return "target reached";
    case simulator::RunEnd::kInterrupted: return "interrupted";
  }
  return "";
}

void print_summary(const simulator::RunSummary& summary, const simulator::RunFolder& folder, bool json) {
  const double wall = to_seconds(summary.wall);
  if (json) {
    const nlohmann::ordered_json object = {{"end", name_of(summary.end)},
                                           {"rounds", summary.version},
                                           {"accuracy", summary.accuracy},
                                           {"virtual_seconds", to_seconds(summary.at.time_since_epoch())},
                                           {"wall_seconds", wall},
                                           {"events", summary.events},
                                           {"bytes_up", summary.traffic.up},
                                           {"bytes_down", summary.traffic.down},
                                           {"utilisation", summary.utilisation},
                                           {"digest", summary.digest.hex()},
                                           {"folder", folder.path()}};
    std::printf("%s\n", object.dump().c_str());
    return;
  }
  std::printf("%s after %llu rounds: %s virtual, %s wall, %.0f events/s, utilisation %.3f\n", name_of(summary.end),
              static_cast<unsigned long long>(summary.version), human_duration(summary.at.time_since_epoch()).c_str(),
              human_duration(summary.wall).c_str(), wall > 0 ? static_cast<double>(summary.events) / wall : 0,
              summary.utilisation);
  if (summary.accuracy > 0) std::printf("accuracy  %.2f %%\n", 100 * summary.accuracy);
  std::printf("model     %s\nresults   %s\npicture   %s\n", summary.digest.hex().c_str(), folder.path().c_str(),
              folder.file("report.html").c_str());
}

Status run(const RunArguments& arguments) {
  const std::string stem = std::filesystem::path(arguments.file).stem().string();
  const std::string out = arguments.out.empty() ? "runs/" + (stem.empty() ? "run" : stem) : arguments.out;
  simulator::RunRequest request;
  request.plugin_folder = arguments.plugins;
  request.resume = arguments.resume;
  SHOAL_TRY(read_options(arguments, out, request.options));
  if (arguments.print) {
    std::printf("%s", cli::print(request.options).c_str());
    return {};
  }
  std::atomic<bool> stop{false};
  const cli::StopSignals signals([&] { stop = true; });
  SHOAL_TRY_ASSIGN(simulator::RunFolder folder, arguments.resume
                                                    ? simulator::RunFolder::open(out)
                                                    : simulator::RunFolder::create(out, cli::print(request.options)));
  const SteadyClock clock;
  Display display(request.options.job.rounds, cli::terminal_of(STDERR_FILENO));
  SHOAL_TRY_ASSIGN(const simulator::RunSummary summary, run_experiment(request, folder, clock, display, stop));
  display.finish();
  print_summary(summary, folder, arguments.json);
  if (summary.end == simulator::RunEnd::kInterrupted)
    return Error(ErrorCode::kFailed, "interrupted; continue with shoal-sim run --resume --out " + out);
  return {};
}

Status replay(const ReplayArguments& arguments) {
  simulator::Replay replay;
  SHOAL_TRY(coordinator::read_archive(
      arguments.folder, cli::build_id(),
      [&](const coordinator::ArchiveStart& start) { return replay.begin(start.snapshot, start.sequence); },
      [&](const coordinator::JournalRecord& record) { return replay.step(record); }));
  const auto& difference = replay.difference();
  if (arguments.json) {
    nlohmann::ordered_json object = {{"events", replay.events()}, {"identical", !difference}};
    if (difference) object["first_difference"] = {{"sequence", difference->sequence}, {"event", difference->event}};
    std::printf("%s\n", object.dump().c_str());
  } else if (!difference) {
    std::printf("%llu events replayed, all with the actions they had live\n",
                static_cast<unsigned long long>(replay.events()));
    for (const auto& job : replay.machine().jobs())
      std::printf("job %llu  %s  version %llu\n", static_cast<unsigned long long>(job.job.value), job.spec.name.c_str(),
                  static_cast<unsigned long long>(job.version));
  }
  if (difference)
    return Error(ErrorCode::kFailed, "event " + std::to_string(difference->sequence) + " (" + difference->event +
                                         ", at " + human_duration(difference->at.time_since_epoch()) +
                                         ") gave other actions than it did live");
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Simulates federated learning on virtual devices, with the coordinator and the training of the real system.");
  app.footer("Example: shoal-sim run configs/mnist-2nn.toml --set job.seed=2 --out runs/seed-2");
  app.require_subcommand(1);

  RunArguments run_arguments;
  CLI::App* run_command = app.add_subcommand("run", "Run an experiment");
  run_command->footer("Example: shoal-sim run configs/synthetic.toml --set population.devices=1000");
  run_command->add_option("FILE", run_arguments.file, "The experiment, in TOML");
  run_command->add_option("--set", run_arguments.settings, "Override one option: --set job.rounds=20")
      ->allow_extra_args(false);
  run_command->add_option("--out", run_arguments.out, "Run folder; runs/NAME-OF-FILE unless given");
  run_command->add_flag("--resume", run_arguments.resume, "Continue the interrupted run in the folder");
  run_command->add_flag("--print-config", run_arguments.print, "Print the effective configuration and stop");
  run_command->add_option("--plugins", run_arguments.plugins, "Folder of the LibTorch trainer");
  run_command->add_flag("--json", run_arguments.json, "Print the result as JSON");

  ReplayArguments replay_arguments;
  CLI::App* replay_command = app.add_subcommand("replay", "Replay a stopped coordinator's journal and compare");
  replay_command->footer("Example: shoal-sim replay /var/lib/shoal   (written with --set keep_journal=true)");
  replay_command->add_option("FOLDER", replay_arguments.folder, "The coordinator's data folder")->required();
  replay_command->add_flag("--json", replay_arguments.json, "Print the result as JSON");

  return cli::run_program("shoal-sim", app, argc, argv,
                          [&] { return run_command->parsed() ? run(run_arguments) : replay(replay_arguments); });
}
