// What a user asks for: one federated job. Read from TOML, journaled, and never changed after submission.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "aggregation/exact_sum.h"
#include "aggregation/server_optimizer.h"
#include "base/options.h"
#include "base/units.h"
#include "protocol/training_spec.h"

namespace shoal::coordinator {

enum class PolicyKind : std::uint8_t { kFedAvg, kFedBuff, kFedCompass };
inline EnumNames<PolicyKind> enum_names(PolicyKind) {
  static constexpr std::array<std::pair<PolicyKind, std::string_view>, 3> kNames{
      {{PolicyKind::kFedAvg, "fedavg"}, {PolicyKind::kFedBuff, "fedbuff"}, {PolicyKind::kFedCompass, "fedcompass"}}};
  return kNames;
}

enum class LateRule : std::uint8_t { kRefuse, kKeep };
inline EnumNames<LateRule> enum_names(LateRule) {
  static constexpr std::array<std::pair<LateRule, std::string_view>, 2> kNames{
      {{LateRule::kRefuse, "refuse"}, {LateRule::kKeep, "keep"}}};
  return kNames;
}

// Of a duration that a job may set; a multiple of it by any other option does not overflow.
inline constexpr Duration kMaxJobDuration = std::chrono::hours(24 * 30);

// Synchronous rounds (McMahan et al. 2017; over-selection and deadlines as in Bonawitz et al. 2019).
struct FedAvgOptions {
  std::uint32_t cohort = 10;      // updates that close a round
  double over_selection = 1.0;    // assignments made for each update wanted
  std::uint32_t min_devices = 0;  // idle devices that are enough for a round; 0: as many as it invites
  double min_fraction = 0.5;      // of the cohort; fewer at the deadline abandon the round
  Duration deadline{};            // 0: derived from what devices took before
  LateRule late = LateRule::kRefuse;
  std::uint32_t late_staleness = 2;  // versions; a kept late update older than this is refused

  template <class Visitor>
  void visit(Visitor& v) {
    v("cohort", cohort, between(1u, 100000u), "Updates that close a round");
    v("over_selection", over_selection, between(1.0, 10.0), "Devices invited for each update wanted");
    v("min_devices", min_devices, any, "Idle devices that are enough for a round; 0: as many as it invites");
    v("min_fraction", min_fraction, between(0.0, 1.0),
      "Share of the cohort below which the deadline abandons the round");
    v("deadline", deadline, between(Duration::zero(), kMaxJobDuration),
      "Longest round; 0s derives it from earlier rounds");
    v("late", late, any, "Updates that arrive after their round closed: refuse or keep");
    v("late_staleness", late_staleness, between(1u, 1000u), "Versions after which a kept late update is refused");
  }
  template <class Archive>
  void fields(Archive& a) {
    a(cohort, over_selection, min_devices, min_fraction, deadline, late, late_staleness);
  }
};

// Buffered asynchronous aggregation (Nguyen et al. 2022).
struct FedBuffOptions {
  std::uint32_t concurrency = 20;   // devices training at a time
  std::uint32_t buffer = 10;        // updates folded together (K)
  double staleness_exponent = 0.5;  // weight (1 + staleness)^-a
  std::uint32_t max_staleness = 100;

  template <class Visitor>
  void visit(Visitor& v) {
    v("concurrency", concurrency, between(1u, 100000u), "Devices that train at a time");
    v("buffer", buffer, between(1u, 100000u), "Updates that are folded together (K)");
    v("staleness_exponent", staleness_exponent, between(0.0, 10.0), "a in the weight (1 + staleness)^-a");
    v("max_staleness", max_staleness, between(0u, 1000000u), "Versions after which an update is refused");
  }
  template <class Archive>
  void fields(Archive& a) {
    a(concurrency, buffer, staleness_exponent, max_staleness);
  }
};

// Computing-power-aware semi-asynchronous groups (Li et al. 2023, "FedCompass").
struct FedCompassOptions {
  std::uint32_t devices = 5;        // m: devices that take part; the job starts when that many are ready
  std::uint32_t min_steps = 20;     // Qmin
  std::uint32_t max_steps = 100;    // Qmax
  double latest_factor = 1.2;       // lambda: a group closes at the latest at lambda times its expected duration
  double speed_momentum = 0.9;      // mu of the speed estimate: S <- (1 - mu) S + mu s
  double alpha = 0.9;               // server mixing
  double staleness_exponent = 0.5;  // weight (1 + staleness)^-a

  template <class Visitor>
  void visit(Visitor& v) {
    v("devices", devices, between(1u, 100000u), "Devices that take part (m); the job starts when they are ready");
    v("min_steps", min_steps, between(1u, 1000000u), "Fewest local steps of an assignment");
    v("max_steps", max_steps, between(1u, 1000000u), "Most local steps of an assignment");
    v("latest_factor", latest_factor, between(1.0, 100.0),
      "A group closes at the latest at this multiple of its expected time");
    v("speed_momentum", speed_momentum, between(0.0, 1.0), "Weight of the newest measurement in the speed estimate");
    v("alpha", alpha, between(0.0, 10.0), "Server mixing weight");
    v("staleness_exponent", staleness_exponent, between(0.0, 10.0), "a in the weight (1 + staleness)^-a");
  }
  template <class Archive>
  void fields(Archive& a) {
    a(devices, min_steps, max_steps, latest_factor, speed_momentum, alpha, staleness_exponent);
  }
};

struct EvaluationOptions {
  std::uint32_t every = 0;     // versions between evaluations; 0 = never
  std::uint32_t devices = 10;  // sampled for one evaluation
  Duration lease = std::chrono::minutes(5);

  template <class Visitor>
  void visit(Visitor& v) {
    v("every", every, any, "Versions between evaluations on devices' test splits; 0 never evaluates");
    v("devices", devices, between(1u, 100000u), "Devices sampled for one evaluation");
    v("lease", lease, between(Duration(std::chrono::seconds(1)), kMaxJobDuration), "Longest evaluation");
  }
  template <class Archive>
  void fields(Archive& a) {
    a(every, devices, lease);
  }
};

// Announced in the assignment and checked at admission; they fix the scale of the exact sums.
struct LimitOptions {
  double update_bound = 16;            // largest |coordinate| of an update
  std::uint64_t max_samples = 100000;  // largest believed sample count of a device

  template <class Visitor>
  void visit(Visitor& v) {
    v("update_bound", update_bound, between(1e-6, 1e6),
      "Largest absolute value of an update's coordinate that is admitted");
    v("max_samples", max_samples, between(std::uint64_t{1}, std::uint64_t{1} << 30),
      "Largest sample count of a device that is admitted");
  }
  template <class Archive>
  void fields(Archive& a) {
    a(update_bound, max_samples);
  }
};

struct JobSpec {
  std::string name = "job";
  std::uint64_t seed = 1;
  std::uint64_t rounds = 10;  // the job completes when its model has this version
  PolicyKind policy = PolicyKind::kFedAvg;
  // FedNova (Wang et al. 2020): undo the bias towards devices that make more local steps. Off for FedCompass too, whose
  // published weights are alpha/m * s(staleness) whatever the steps; with data that differ between fast and slow
  // devices it should be on there.
  bool weigh_steps = false;
  FedAvgOptions fedavg;
  FedBuffOptions fedbuff;
  FedCompassOptions fedcompass;
  aggregation::ServerOptimizerOptions optimizer;
  protocol::TrainingSpec training;
  EvaluationOptions evaluation;
  LimitOptions limits;
  std::uint32_t keep_versions = 2;  // newest versions kept, besides those that assignments refer to
  bool retain_updates = false;      // keep the bodies of folded updates, for a replay that recomputes digests

  template <class Visitor>
  void visit(Visitor& v) {
    v("name", name, any, "Name of the job, shown in lists");
    v("seed", seed, any, "Every random choice of the job follows from it");
    v("rounds", rounds, between(std::uint64_t{1}, std::uint64_t{1} << 32),
      "Model versions after which the job is complete");
    v("policy", policy, any, "When updates are folded: fedavg, fedbuff or fedcompass");
    v("weigh_steps", weigh_steps, any,
      "FedNova: normalise updates by their local steps; for FedCompass where data differ between fast and slow "
      "devices");
    v("keep_versions", keep_versions, between(1u, 100000u), "Newest model versions that are kept");
    v("retain_updates", retain_updates, any, "Keep the updates of closed rounds for replay");
    v("fedavg", fedavg, any, "Synchronous rounds");
    v("fedbuff", fedbuff, any, "Buffered asynchronous aggregation");
    v("fedcompass", fedcompass, any, "Semi-asynchronous groups");
    v("optimizer", optimizer, any, "Server optimizer");
    v("training", training, any, "Local training");
    v("evaluation", evaluation, any, "Evaluation on devices");
    v("limits", limits, any, "What is admitted");
  }
  template <class Archive>
  void fields(Archive& a) {
    a(name, seed, rounds, policy, weigh_steps, fedavg, fedbuff, fedcompass, optimizer, training, evaluation, limits,
      keep_versions, retain_updates);
  }
};

// Contradictions between options that are each in range.
Status check(const JobSpec& spec);

// n_max and w_max: the most updates that one fold of this job can take, and the largest weight of one.
std::uint32_t max_updates(const JobSpec& spec);
double max_weight(const JobSpec& spec);

}  // namespace shoal::coordinator
