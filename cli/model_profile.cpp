// `shoal model profile`: the memory of a training step, known before the first one.
#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/units.h"
#include "cli/commands.h"
#include "cli/model_source.h"
#include "cli/table.h"
#include "client/training/engine/fit.h"
#include "client/training/engine/onednn.h"
#include "protocol/update_plan.h"

namespace shoal::cli {
namespace {

namespace training = client::training;
namespace engine = client::training::engine;

constexpr std::size_t kColumns = 72, kRows = 10;  // of the picture
constexpr std::size_t kLargest = 8;               // buffers that are listed

struct ProfileOptions {
  ModelSource source;
  std::string plan = "full", budget = "0";
  std::uint32_t batch = 10;
  bool adam = false, constant_norms = false;
};

std::string megabytes(std::size_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f MB", static_cast<double>(bytes) / 1e6);
  return text;
}

// When the most is alive, and what.
struct Profile {
  explicit Profile(const engine::Program& program)
      : tape(program.tape()),
        plan(program.plan()),
        live(std::span(plan.live).first(tape.instructions().size())),
        peak(static_cast<std::size_t>(std::ranges::max_element(live) - live.begin())) {}

  bool lives(engine::BufferId b, std::size_t instruction) const {
    return plan.lifetimes[b].first <= instruction && instruction <= plan.lifetimes[b].last;
  }

  // Those that come and go, at the peak, the largest first.
  std::vector<engine::BufferId> largest() const {
    std::vector<engine::BufferId> found;
    for (engine::BufferId b = 0; b < tape.buffers().size(); ++b)
      if (tape.buffers()[b].life != engine::Life::kKept && lives(b, peak)) found.push_back(b);
    std::ranges::stable_sort(found, [&](auto a, auto b) { return tape.buffers()[a].bytes > tape.buffers()[b].bytes; });
    return found;
  }

  const engine::Tape& tape;
  const engine::ArenaPlan& plan;
  std::span<const std::size_t> live;  // bytes at each instruction
  std::size_t peak;
};

// Time goes right, memory up; each column shows the most of its share of the instructions.
std::string picture(const Profile& profile, std::size_t kept, const Terminal& terminal) {
  static constexpr const char* kEighths[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  const std::size_t columns = std::min(kColumns, profile.live.size()), top = profile.live[profile.peak];
  std::vector<std::size_t> most(columns);
  for (std::size_t i = 0; i < profile.live.size(); ++i) {
    std::size_t& column = most[i * columns / profile.live.size()];
    column = std::max(column, profile.live[i]);
  }
  const auto eighths = [&](std::size_t bytes) { return (bytes * kRows * 8 + top - 1) / top; };
  std::string text;
  for (std::size_t row = kRows; row-- > 0;) {
    char label[32];
    std::snprintf(label, sizeof label, "%8.1f MB ",
                  static_cast<double>(top) * static_cast<double>(row + 1) / kRows / 1e6);
    std::string line;
    for (const std::size_t bytes : most) {
      const std::size_t filled = eighths(bytes) - std::min(eighths(bytes), row * 8);
      line += kEighths[std::min<std::size_t>(filled, 8)];
    }
    const bool is_kept = eighths(kept) > row * 8;
    text += paint(label, Color::kDim, terminal) + paint(line, is_kept ? Color::kCyan : Color::kGreen, terminal) + "\n";
  }
  return text;
}

void print(const Context& context, const ProfileOptions& options, const training::ModelDescription& model,
           const engine::Fitted& fitted, std::uint64_t trained, std::uint64_t parameters) {
  const Profile profile(*fitted.program);
  const engine::StateBytes& state = fitted.program->state();
  const std::size_t transient =
      profile.live[profile.peak] - state.trained - state.frozen - state.moments - state.gradients;
  if (context.json) {
    nlohmann::ordered_json json{{"model", model.name},
                                {"plan", options.plan},
                                {"batch", options.batch},
                                {"way", fitted.way.text()},
                                {"examples_at_once", fitted.way.options.examples},
                                {"parameters", parameters},
                                {"trained", trained},
                                {"arena_bytes", profile.plan.bytes},
                                {"live_bytes", profile.plan.live_bytes},
                                {"trained_bytes", state.trained},
                                {"frozen_bytes", state.frozen},
                                {"moment_bytes", state.moments},
                                {"gradient_bytes", state.gradients},
                                {"peak", profile.tape.instructions()[profile.peak].name},
                                {"live", std::vector(profile.live.begin(), profile.live.end())}};
    return print_json(json);
  }
  print_text(render_facts(
                 {{"model", model.name + ", " + grouped(parameters) + " parameters"},
                  {"plan", options.plan + ": trains " + grouped(trained)},
                  {"step", std::to_string(options.batch) + (options.batch == 1 ? " example with " : " examples with ") +
                               (options.adam ? "adam" : "sgd") + ", " + fitted.way.text()},
                  {"norms", options.constant_norms ? "statistics held constant: a biased gradient" : "exact gradient"},
                  {"arena", megabytes(profile.plan.bytes) + ", the peak of every step"}},
                 context.terminal) +
             "\n" + picture(profile, profile.plan.kept_bytes, context.terminal) + "\n");
  Table table({{"AT THE PEAK, " + profile.tape.instructions()[profile.peak].name}, {"BYTES", Align::kRight}});
  const auto row = [&](const std::string& name, std::size_t bytes) {
    if (bytes > 0) table.add({name, megabytes(bytes)});
  };
  row("trained parameters", state.trained);
  row("frozen parameters", state.frozen);
  row("optimizer's moments", state.moments);
  row("accumulated gradients", state.gradients);
  row("activations and workspaces", transient);
  const std::vector<engine::BufferId> largest = profile.largest();
  for (std::size_t i = 0; i < std::min(kLargest, largest.size()); ++i)
    row("  " + profile.tape.buffers()[largest[i]].name, profile.tape.buffers()[largest[i]].bytes);
  row("gaps between buffers", profile.plan.bytes - std::min(profile.plan.bytes, profile.live[profile.peak]));
  print_text(table.render(context.terminal));
}

Status profile(const Context& context, const ProfileOptions& options) {
  SHOAL_TRY_ASSIGN(const training::ModelDescription model, describe(options.source));
  SHOAL_TRY_ASSIGN(const training::Graph graph, training::graph_of(model));
  SHOAL_TRY_ASSIGN(const TensorLayout layout, training::layout_of(model));
  SHOAL_TRY_ASSIGN(const std::vector<bool> trained, protocol::trained_by(options.plan, layout));
  SHOAL_TRY_ASSIGN(const Bytes budget, parse_bytes(options.budget));
  engine::ProgramOptions wanted;
  wanted.norm_gradient = options.constant_norms ? engine::NormGradient::kConstant : engine::NormGradient::kExact;
  if (options.adam) wanted.spec.optimizer = protocol::LocalOptimizerKind::kAdam;
  engine::use_one_thread();
  SHOAL_TRY_ASSIGN(const engine::Fitted fitted, engine::fit(graph, trained, wanted, options.batch, budget.count));
  std::uint64_t count = 0;
  for (std::size_t t = 0; t < trained.size(); ++t) count += trained[t] ? layout.count(t) : 0;
  print(context, options, model, fitted, count, layout.total());
  return {};
}

}  // namespace

void add_model_profile(CLI::App& group, Context& context) {
  auto options = std::make_shared<ProfileOptions>();
  CLI::App& command = add_command(
      group, context, "profile", "The memory of a training step, before the first one",
      "shoal model profile --arch proxyless-mobile-lite --input 3x224x224 --classes 102 --plan lite+bias --budget 45MB",
      [&context, options] { return profile(context, *options); });
  add_model_source(command, options->source);
  std::string plans;
  for (const std::string_view name : protocol::plan_names()) plans += (plans.empty() ? "" : ", ") + std::string(name);
  command.add_option("--plan", options->plan, "What is trained: " + plans)->capture_default_str();
  command.add_option("--batch", options->batch, "Examples in one step")
      ->check(CLI::Range(1u, 65536u))
      ->capture_default_str();
  command.add_option("--budget", options->budget, "Bytes that training may take, as in 40MiB; 0 is no limit")
      ->capture_default_str();
  command.add_flag("--adam", options->adam, "Adam in place of SGD");
  command.add_flag("--constant-norms", options->constant_norms,
                   "Hold the statistics of norms constant, as the published accounting of TinyTL does");
  add_json_flag(command, context);
}

}  // namespace shoal::cli
