// shoal-sim: runs experiments in virtual time, and replays what a live coordinator did.
#include <sys/ioctl.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/units.h"
#include "build_info.h"
#include "cli/config.h"
#include "coordinator/rocksdb/store.h"
#include "simulator/replay.h"
#include "simulator/run.h"

namespace {

using namespace shoal;

constexpr int kFailed = 1, kUsage = 2, kBug = 70;

std::atomic<bool> interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free);

class SteadyClock final : public Clock {
 public:
  Time now() const override { return Time(std::chrono::steady_clock::now().time_since_epoch()); }
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

int fail(const Error& error) {
  std::fprintf(stderr, "shoal-sim: %s\n", error.to_string().c_str());
  return exit_code(error.code());
}

// FILE with its --set; with --resume the folder's own configuration, of which only `workers` may change.
Status read_options(const RunArguments& arguments, const std::string& out, simulator::ExperimentOptions& options) {
  if (!arguments.resume && arguments.file.empty())
    return Error(ErrorCode::kInvalid, "name the experiment's file, for example configs/synthetic.toml");
  SHOAL_TRY(cli::load_file(arguments.resume ? out + "/config.toml" : arguments.file, options));
  for (const std::string& setting : arguments.settings) {
    if (arguments.resume && !setting.starts_with("workers="))
      return Error(ErrorCode::kInvalid, "--set " + setting + " would make another run of the one that --resume continues; only workers may change");
    SHOAL_TRY(cli::set(options, setting));
  }
  return {};
}

simulator::ProgressOptions progress_options() {
  simulator::ProgressOptions options;
  options.terminal = isatty(STDERR_FILENO) != 0;
  const char* no_color = std::getenv("NO_COLOR");
  options.color = options.terminal && (no_color == nullptr || *no_color == '\0');
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) options.columns = size.ws_col;
  return options;
}

void print_summary(const simulator::RunSummary& summary, const simulator::RunFolder& folder, bool json) {
  const double wall = to_seconds(summary.wall);
  if (json) {
    const char* end = summary.end == simulator::RunEnd::kCompleted       ? "completed"
                      : summary.end == simulator::RunEnd::kTargetReached ? "target reached"
                                                                         : "interrupted";
    const nlohmann::ordered_json object = {{"end", end}, {"rounds", summary.version}, {"accuracy", summary.accuracy},
        {"virtual_seconds", to_seconds(summary.at.time_since_epoch())}, {"wall_seconds", wall}, {"events", summary.events},
        {"bytes_up", summary.traffic.up}, {"bytes_down", summary.traffic.down}, {"utilisation", summary.utilisation},
        {"digest", summary.digest.hex()}, {"folder", folder.path()}};
    std::printf("%s\n", object.dump().c_str());
    return;
  }
  std::printf("%s after %llu rounds: %s virtual, %s wall, %.0f events/s, utilisation %.3f\n",
              summary.end == simulator::RunEnd::kInterrupted     ? "interrupted"
              : summary.end == simulator::RunEnd::kTargetReached ? "target reached"
                                                                 : "completed",
              static_cast<unsigned long long>(summary.version), human_duration(summary.at.time_since_epoch()).c_str(),
              human_duration(summary.wall).c_str(), wall > 0 ? static_cast<double>(summary.events) / wall : 0,
              summary.utilisation);
  if (summary.accuracy > 0) std::printf("accuracy  %.2f %%\n", 100 * summary.accuracy);
  std::printf("model     %s\nresults   %s\npicture   %s\n", summary.digest.hex().c_str(), folder.path().c_str(),
              folder.file("report.html").c_str());
  if (summary.end == simulator::RunEnd::kInterrupted)
    std::printf("continue  shoal-sim run --resume --out %s\n", folder.path().c_str());
}

int run(const RunArguments& arguments) {
  const std::string stem = std::filesystem::path(arguments.file).stem().string();
  const std::string out = arguments.out.empty() ? "runs/" + (stem.empty() ? "run" : stem) : arguments.out;
  simulator::RunRequest request;
  request.plugin_folder = arguments.plugins;
  request.resume = arguments.resume;
  if (const Status status = read_options(arguments, out, request.options); !status.ok()) return fail(status.error());
  if (const Status status = check(request.options); !status.ok()) return fail(status.error());
  if (arguments.print) {
    std::printf("%s", cli::print(request.options).c_str());
    return 0;
  }
  auto folder = arguments.resume ? simulator::RunFolder::open(out)
                                 : simulator::RunFolder::create(out, cli::print(request.options));
  if (!folder.ok()) return fail(folder.error());
  const SteadyClock clock;
  simulator::Progress progress(stderr, progress_options(), request.options.job.rounds);
  const auto summary = run_experiment(request, *folder, clock, progress, interrupted);
  if (!summary.ok()) {
    progress.finish();
    return fail(summary.error());
  }
  print_summary(*summary, *folder, arguments.json);
  return summary->end == simulator::RunEnd::kInterrupted ? kFailed : 0;
}

int replay(const ReplayArguments& arguments) {
  simulator::Replay replay;
  const std::string build = std::string(kVersion) + " " + kGitHash;
  const Status read = coordinator::read_archive(
      arguments.folder, build,
      [&](const coordinator::ArchiveStart& start) { return replay.begin(start.snapshot, start.sequence); },
      [&](const coordinator::JournalRecord& record) { return replay.step(record); });
  if (!read.ok()) return fail(read.error());
  const auto& difference = replay.difference();
  if (arguments.json) {
    nlohmann::ordered_json object = {{"events", replay.events()}, {"identical", !difference}};
    if (difference) object["first_difference"] = {{"sequence", difference->sequence}, {"event", difference->event}};
    std::printf("%s\n", object.dump().c_str());
  } else if (difference) {
    std::printf("event %llu (%s, at %s) gave other actions than it did live: %016llx, recorded %016llx\n",
                static_cast<unsigned long long>(difference->sequence), difference->event.c_str(),
                human_duration(difference->at.time_since_epoch()).c_str(),
                static_cast<unsigned long long>(difference->replayed), static_cast<unsigned long long>(difference->recorded));
  } else {
    std::printf("%llu events replayed, all with the actions they had live\n", static_cast<unsigned long long>(replay.events()));
    for (const auto& job : replay.machine().jobs())
      std::printf("job %llu  %s  version %llu\n", static_cast<unsigned long long>(job.job.value), job.spec.name.c_str(),
                  static_cast<unsigned long long>(job.version));
  }
  return difference ? kFailed : 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGABRT, [](int) { std::_Exit(kBug); });
  std::signal(SIGINT, [](int) { interrupted = true; });
  std::signal(SIGTERM, [](int) { interrupted = true; });

  CLI::App app("Simulates federated learning on virtual devices, with the coordinator and the training of the real system.");
  app.footer("Example: shoal-sim run configs/mnist-2nn.toml --set job.seed=2 --out runs/seed-2");
  app.set_version_flag("--version", std::string("shoal-sim ") + kVersion + " (" + kGitHash + ")");
  app.require_subcommand(1);

  RunArguments run_arguments;
  CLI::App* run_command = app.add_subcommand("run", "Run an experiment");
  run_command->footer("Example: shoal-sim run configs/synthetic.toml --set population.devices=1000");
  run_command->add_option("FILE", run_arguments.file, "The experiment, in TOML");
  run_command->add_option("--set", run_arguments.settings, "Override one option: --set job.rounds=20")->take_all()->allow_extra_args(false);
  run_command->add_option("--out", run_arguments.out, "Run folder; runs/NAME-OF-FILE unless given");
  run_command->add_flag("--resume", run_arguments.resume, "Continue the interrupted run in the folder");
  run_command->add_flag("--print-config", run_arguments.print, "Print the effective configuration and stop");
  run_command->add_option("--plugins", run_arguments.plugins, "Folder of the LibTorch trainer");
  run_command->add_flag("--json", run_arguments.json, "Print the result as JSON");

  ReplayArguments replay_arguments;
  CLI::App* replay_command = app.add_subcommand("replay", "Replay a stopped coordinator's journal and compare");
  replay_command->footer("Example: shoal-sim replay /var/lib/shoal   (written with archive_events = true)");
  replay_command->add_option("FOLDER", replay_arguments.folder, "The coordinator's data folder")->required();
  replay_command->add_flag("--json", replay_arguments.json, "Print the result as JSON");

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? 0 : kUsage;
  }
  return run_command->parsed() ? run(run_arguments) : replay(replay_arguments);
}
