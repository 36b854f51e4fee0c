#include "simulator/run.h"

#include <string>
#include <utility>

#include "base/archive.h"
#include "base/units.h"
#include "build_info.h"
#include "simulator/report.h"
#include "simulator/world.h"

namespace shoal::simulator {
namespace {

// "seed 1, build 0.1.0 (abc, GNU 12 Release), model DIGEST": what makes a run repeatable, in the log's first and last
// line.
std::string identity(const ExperimentOptions& options, const Digest& digest) {
  return "seed " + std::to_string(options.job.seed) + ", build " + kVersion + " (" + kGitHash + ", " + kCompiler +
         "), model " + digest.hex();
}

std::string on_one_line(const RoundRecord& record, Duration wall) {
  std::string line = "version " + std::to_string(record.version) + " at " +
                     human_duration(record.at.time_since_epoch()) + " virtual, " + human_duration(wall) +
                     " wall: received " + std::to_string(record.received) + " updates, " +
                     std::to_string(record.refusals()) + " refused";
  for (const auto& [refusal, count] : record.refused)
    line += " (" + std::string(protocol::text_of(refusal).name) + " " + std::to_string(count) + ")";
  return line;
}

class Run final : public Observer {
 public:
  Run(const RunRequest& request, World& world, RunFolder& folder, const Clock& clock, RunListener& listener)
      : options_(request.options),
        world_(world),
        folder_(folder),
        clock_(clock),
        listener_(listener),
        began_(clock.now()),
        engine_({world.job, options_.evaluate_every}, *world.population, *world.learning, *this) {}

  Status begin(bool resume);
  Status go(const std::atomic<bool>& stop);
  Result<RunSummary> finish();

  Status on_round(const RoundRecord& record) override;
  void on_opened(Time at, const coordinator::action::RoundOpened& round) override;
  void on_abandoned(Time at, const coordinator::action::RoundClosed& round) override;

 private:
  Duration wall() const { return clock_.now() - began_; }
  Status checkpoint();

  const ExperimentOptions& options_;
  World& world_;
  RunFolder& folder_;
  const Clock& clock_;
  RunListener& listener_;
  Time began_;
  Engine engine_;
  double accuracy_ = 0;
  bool target_reached_ = false;
  bool due_ = false;  // a checkpoint, at the end of this turn
  Status log_;        // the first failure to write the log
};

Status Run::begin(bool resume) {
  if (!resume) {
    SHOAL_TRY(folder_.append_log(identity(options_, world_.learning->newest_digest())));
    return engine_.begin();
  }
  SHOAL_TRY_ASSIGN(const std::string state, folder_.load_checkpoint());
  Decoder decoder(state);
  std::string build;
  decoder(build, accuracy_);
  if (build != std::string(kVersion) + kGitHash)
    return Error(ErrorCode::kInvalid,
                 "the checkpoint was made by another build (" + build + "); run that one, or start anew");
  SHOAL_TRY(engine_.load(decoder));
  return folder_.append_log("resumed at version " + std::to_string(engine_.version()));
}

Status Run::checkpoint() {
  Encoder encoder;
  encoder(std::string(kVersion) + kGitHash, accuracy_);
  engine_.save(encoder);
  return folder_.save_checkpoint(std::move(encoder).take());
}

Status Run::go(const std::atomic<bool>& stop) {
  while (!engine_.ended() && !target_reached_) {
    if (stop) return checkpoint();
    SHOAL_TRY(engine_.turn());
    if (std::exchange(due_, false)) SHOAL_TRY(checkpoint());
  }
  return {};
}

Status Run::on_round(const RoundRecord& record) {
  SHOAL_TRY(log_);
  SHOAL_TRY(folder_.append_metrics(record));
  SHOAL_TRY(folder_.append_log(on_one_line(record, wall())));
  if (record.test && record.test->samples > 0)
    accuracy_ = static_cast<double>(record.test->correct) / static_cast<double>(record.test->samples);
  target_reached_ = options_.target_accuracy > 0 && record.test && accuracy_ >= options_.target_accuracy;
  due_ = options_.checkpoint_every > 0 && record.version % options_.checkpoint_every == 0;
  listener_.on_progress(record, wall());
  return {};
}

void Run::on_opened(Time at, const coordinator::action::RoundOpened& round) {
  log_ = folder_.append_log("sampled " + std::to_string(round.sampled) + " of " + std::to_string(round.available) +
                            " devices for version " + std::to_string(round.base + 1) + " at " +
                            human_duration(at.time_since_epoch()) + " virtual");
}

void Run::on_abandoned(Time at, const coordinator::action::RoundClosed& round) {
  listener_.on_notice("round abandoned at " + human_duration(at.time_since_epoch()) + " virtual: received " +
                      std::to_string(round.received) + " updates, " + std::to_string(round.failed) + " failed");
}

Result<RunSummary> Run::finish() {
  const bool interrupted = !engine_.ended() && !target_reached_;
  RunSummary summary;
  summary.end = interrupted ? RunEnd::kInterrupted : target_reached_ ? RunEnd::kTargetReached : RunEnd::kCompleted;
  summary.version = engine_.version();
  summary.digest = world_.learning->newest_digest();
  summary.accuracy = accuracy_;
  summary.at = engine_.now();
  summary.wall = wall();
  summary.events = engine_.events();
  summary.traffic = engine_.total();
  summary.utilisation = engine_.utilisation();
  SHOAL_TRY(world_.learning->write_newest(folder_.file("model.safetensors")));
  SHOAL_TRY(folder_.append_log(identity(options_, summary.digest)));
  SHOAL_TRY(write_report({folder_.path()}, folder_.file("report.html")));
  if (!interrupted) folder_.remove_checkpoint();
  if (engine_.ended() && engine_.ended()->status == coordinator::JobStatus::kFailed)
    return Error(ErrorCode::kFailed, "the job failed: " + engine_.ended()->reason);
  return summary;
}

}  // namespace

Result<RunSummary> run_experiment(const RunRequest& request, RunFolder& folder, const Clock& clock,
                                  RunListener& listener, const std::atomic<bool>& stop) {
  SHOAL_TRY_ASSIGN(World world, make_world(request.options, request.plugin_folder));
  Run run(request, world, folder, clock, listener);
  SHOAL_TRY(run.begin(request.resume));
  SHOAL_TRY(run.go(stop));
  return run.finish();
}

}  // namespace shoal::simulator
