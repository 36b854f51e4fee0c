// `shoal model plan`: what devices of a budget could train of a model, what it costs them, and what to write into a
// job.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "base/steady_clock.h"
#include "base/units.h"
#include "cli/commands.h"
#include "cli/model_source.h"
#include "cli/table.h"
#include "client/training/engine/planner.h"

namespace shoal::cli {
namespace {

namespace engine = client::training::engine;

struct PlanOptions {
  ModelSource source;
  std::string budget = "0", deadline = "0", upload = "0";
  std::uint32_t batch = 10;
  std::uint64_t examples = 0;
  double speed = 1;
  bool adam = false;
};

// A device and its round: everything that a plan is judged by.
struct Round {
  Bytes budget{}, upload{};  // of the device, in bytes and bytes a second; 0: no limit
  Duration deadline{};       // 0: none
  double speed = 1;
  std::uint64_t steps = 0;

  double step_seconds(const engine::Candidate& c) const { return c.fit->step_seconds / speed; }
  double seconds(const engine::Candidate& c) const {
    const double sent = upload.count > 0 ? static_cast<double>(c.floats * sizeof(float)) / upload.count : 0;
    return static_cast<double>(steps) * step_seconds(c) + sent;
  }
  bool in_time(const engine::Candidate& c) const {
    return deadline == Duration::zero() || seconds(c) <= to_seconds(deadline);
  }
};

std::string time_text(double seconds) { return human_duration(from_seconds(seconds)); }

void print_table(const Context& context, const Round& round, const std::vector<engine::Candidate>& found,
                 const engine::Candidate* best, const std::string& table_text) {
  std::vector<Column> columns{
      {"PLAN"}, {"TRAINS", Align::kRight}, {"UPLOAD", Align::kRight}, {"PEAK", Align::kRight}, {"STEP", Align::kRight}};
  if (round.steps > 0) columns.push_back({"ROUND", Align::kRight});
  columns.push_back({"HOW"});
  Table table(std::move(columns));
  for (const engine::Candidate& c : found) {
    std::vector<std::string> cells{&c == best ? paint(c.plan, Color::kGreen, context.terminal) : c.plan,
                                   grouped(c.floats), human_bytes(c.floats * sizeof(float)),
                                   c.fit ? human_bytes(c.fit->arena) : "-",
                                   c.fit ? time_text(round.step_seconds(c)) : "-"};
    if (round.steps > 0) cells.push_back(c.fit ? time_text(round.seconds(c)) : "-");
    cells.push_back(!c.fit              ? "does not fit: needs " + human_bytes(c.least) + " at the least"
                    : !round.in_time(c) ? "too slow: " + c.fit->way.text()
                                        : c.fit->way.text());
    table.add(std::move(cells));
  }
  print_text(table.render(context.terminal));
  print_text("\n" + (best == nullptr ? std::string("No plan fits. ") : "Best: " + best->plan + ". ") +
             "In a job, for devices of any budget:\n  plan = \"" + table_text + "\"\n");
}

void print_as_json(const Round& round, const std::vector<engine::Candidate>& found, const engine::Candidate* best,
                   const std::string& table_text) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const engine::Candidate& c : found) {
    nlohmann::ordered_json row{{"plan", c.plan},
                               {"trained", c.floats},
                               {"upload_bytes", c.floats * sizeof(float)},
                               {"least_bytes", c.least},
                               {"fits", c.fit.has_value()}};
    if (c.fit) {
      row["arena_bytes"] = c.fit->arena;
      row["examples_at_once"] = c.fit->way.options.examples;
      row["way"] = c.fit->way.text();
      row["step_seconds"] = round.step_seconds(c);
      if (round.steps > 0) row["round_seconds"] = round.seconds(c);
      row["in_time"] = round.in_time(c);
    }
    rows.push_back(std::move(row));
  }
  nlohmann::ordered_json json{{"best", nullptr}, {"plan", table_text}, {"candidates", rows}};
  if (best != nullptr) json["best"] = best->plan;
  print_json(json);
}

Status plan(const Context& context, const PlanOptions& options) {
  SHOAL_TRY_ASSIGN(const client::training::ModelDescription model, describe(options.source));
  Round round{.speed = options.speed, .steps = (options.examples + options.batch - 1) / options.batch};
  SHOAL_TRY_ASSIGN(round.budget, parse_bytes(options.budget));
  SHOAL_TRY_ASSIGN(round.upload, parse_bytes(options.upload));
  SHOAL_TRY_ASSIGN(round.deadline, parse_duration(options.deadline));
  if (round.deadline > Duration::zero() && round.steps == 0)
    return Error(ErrorCode::kInvalid, "--deadline is for a round; say with --examples how many a device trains on");
  engine::ProgramOptions wanted;
  if (options.adam) wanted.spec.optimizer = protocol::LocalOptimizerKind::kAdam;
  const SteadyClock clock;
  SHOAL_TRY_ASSIGN(const std::vector<engine::Candidate> found,
                   engine::candidates(model, wanted, options.batch, round.budget.count, clock));
  const auto best = std::ranges::find_if(found, [&](const engine::Candidate& c) { return c.fit && round.in_time(c); });
  const engine::Candidate* const chosen = best == found.end() ? nullptr : &*best;
  std::vector<protocol::PlanRow> rows;
  for (const engine::Candidate& c : found)
    // A plan that trains less and needs more is nobody's best.
    if (const Bytes memory = engine::stated(c.least); rows.empty() || memory < rows.back().memory)
      rows.push_back({c.plan, memory});
  const std::string table = protocol::to_text(rows);
  if (context.json) {
    print_as_json(round, found, chosen, table);
  } else {
    print_table(context, round, found, chosen, table);
  }
  return {};
}

}  // namespace

void add_model_plan(CLI::App& group, Context& context) {
  auto options = std::make_shared<PlanOptions>();
  CLI::App& command = add_command(
      group, context, "plan", "What devices of a budget can train of a model, and what it costs them",
      "shoal model plan --arch proxyless-mobile-lite --input 3x224x224 --classes 102 --batch 8 --budget 40MiB",
      [&context, options] { return plan(context, *options); });
  add_model_source(command, options->source);
  command.add_option("--batch", options->batch, "Examples in one step")
      ->check(CLI::Range(1u, 65536u))
      ->capture_default_str();
  command.add_option("--budget", options->budget, "Bytes that training may take, as in 40MiB; 0 is no limit")
      ->capture_default_str();
  command.add_option("--deadline", options->deadline, "Time for a round, as in 10min; 0 is no limit")
      ->capture_default_str();
  command.add_option("--examples", options->examples, "Examples that a device trains on in a round")
      ->check(CLI::Range(std::uint64_t{0}, std::uint64_t{1} << 40));
  command.add_option("--speed", options->speed, "The device's speed, as a multiple of this machine's")
      ->check(CLI::Range(1e-6, 1e6))
      ->capture_default_str();
  command.add_option("--upload", options->upload, "Bytes a second from the device, as in 250KB; 0 is no limit")
      ->capture_default_str();
  command.add_flag("--adam", options->adam, "Adam in place of SGD");
  add_json_flag(command, context);
}

}  // namespace shoal::cli
