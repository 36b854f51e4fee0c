// `shoal data inspect` and `shoal report`: looking at what goes in and what came out.
#include <algorithm>
#include <memory>
#include <set>

#include "base/units.h"
#include "cli/commands.h"
#include "cli/progress_bar.h"
#include "cli/table.h"
#include "client/data/dataset.h"
#include "simulator/report.h"
#include "simulator/run_history.h"

namespace shoal::cli {
namespace {

namespace data = client::data;

constexpr int kHistogramCells = 30;
constexpr std::size_t kMostClassesShown = 40;

std::vector<std::uint64_t> rows_by_class(const data::Dataset& set) {
  std::vector<std::uint64_t> counts(set.classes);
  for (const std::uint32_t label : set.labels) ++counts[label];
  return counts;
}

std::string shape_text(const data::Dataset& set) {
  std::string text;
  for (const std::uint32_t extent : set.shape) text += (text.empty() ? "" : " x ") + std::to_string(extent);
  return text;
}

// Examples side by side as characters, for pictures of a channel or three.
std::string sketch(const data::Dataset& set, const Terminal& terminal) {
  if (set.shape.size() != 3 || set.rows() == 0) return "";
  const std::size_t height = set.shape[1], width = set.shape[2];
  if (width > 40 || height > 40) return "";
  const std::vector<std::string> inks = terminal.unicode ? std::vector<std::string>{" ", "░", "▒", "▓", "█"}
                                                         : std::vector<std::string>{" ", ".", "+", "*", "#"};
  const std::size_t shown = std::min<std::size_t>(set.rows(), static_cast<std::size_t>(terminal.columns) / (width + 2));
  std::vector<std::vector<float>> examples(shown, std::vector<float>(set.example_size()));
  for (std::size_t i = 0; i < shown; ++i) set.example(i * (set.rows() / shown), examples[i]);
  std::string out;
  // A character is twice as tall as wide: every other line.
  for (std::size_t y = 0; y < height; y += 2) {
    std::string line;
    for (const auto& pixels : examples) {
      for (std::size_t x = 0; x < width; ++x) {
        const auto level = static_cast<std::size_t>(std::clamp(pixels[y * width + x] * 4.99f, 0.0f, 4.0f));
        line += inks[level];
      }
      line += "  ";
    }
    out += line + "\n";
  }
  return out;
}

struct InspectOptions {
  std::string source;
  data::ReadOptions read;
};

Status inspect(const Context& context, const InspectOptions& options) {
  SHOAL_TRY_ASSIGN(const data::Dataset train, data::read_dataset(options.source, "train", options.read));
  const auto test = data::read_dataset(options.source, "test", options.read);
  const std::uint64_t test_rows = test.ok() ? test->rows() : 0;
  const auto counts = rows_by_class(train);
  const std::set<std::uint32_t> groups(train.groups.begin(), train.groups.end());
  if (context.json) {
    print_json({{"source", options.source},
                {"shape", train.shape},
                {"classes", train.classes},
                {"train_rows", train.rows()},
                {"test_rows", test_rows},
                {"clients", groups.size()},
                {"rows_by_class", counts}});
    return {};
  }
  const std::string size = human_bytes(train.bytes_in_memory());
  print_text(render_facts({{"source", options.source},
                           {"example", shape_text(train)},
                           {"training", std::to_string(train.rows()) + " examples, " + size + " in memory"},
                           {"test", test_rows > 0 ? std::to_string(test_rows) + " examples"
                                                  : "none; each client keeps a share of its own"},
                           {"clients", groups.empty() ? "not told apart; a partition deals them out"
                                                      : std::to_string(groups.size()) + " natural"}},
                          context.terminal) +
             "\n");
  Table table({{"CLASS", Align::kRight}, {"EXAMPLES", Align::kRight}, {""}});
  const std::uint64_t most = counts.empty() ? 0 : *std::max_element(counts.begin(), counts.end());
  for (std::size_t c = 0; c < std::min(counts.size(), kMostClassesShown); ++c)
    table.add({std::to_string(c), std::to_string(counts[c]),
               paint(bar(most == 0 ? 0 : static_cast<double>(counts[c]) / static_cast<double>(most), kHistogramCells,
                         context.terminal.unicode),
                     Color::kCyan, context.terminal)});
  print_text(table.render(context.terminal));
  if (counts.size() > kMostClassesShown)
    print_text("and " + std::to_string(counts.size() - kMostClassesShown) + " classes more\n");
  print_text("\n" + sketch(train, context.terminal));
  return {};
}

// The figures that a run ended with.
Result<nlohmann::ordered_json> figures(const std::string& folder) {
  SHOAL_TRY_ASSIGN(const simulator::RunHistory run, simulator::read_history(folder));
  nlohmann::ordered_json json{{"run", folder}, {"name", run.name}, {"rounds", run.points.size()}};
  if (run.points.empty()) return json;
  const simulator::HistoryPoint& last = run.points.back();
  json["version"] = last.version;
  json["seconds"] = last.seconds;
  json["bytes_up"] = last.bytes_up;
  json["bytes_down"] = last.bytes_down;
  json["train_loss"] = last.train_loss;
  for (const simulator::HistoryPoint& point : run.points) {
    if (point.accuracy) json["accuracy"] = *point.accuracy;
    if (point.loss) json["loss"] = *point.loss;
  }
  if (!run.digest.empty()) json["digest"] = run.digest;
  return json;
}

Status report(const Context& context, const std::vector<std::string>& runs, const std::string& out) {
  SHOAL_TRY(simulator::write_report(runs, out));
  if (!context.json) return print_text("wrote " + out + "\n"), Status{};
  nlohmann::ordered_json json{{"file", out}, {"runs", nlohmann::ordered_json::array()}};
  for (const std::string& run : runs) {
    SHOAL_TRY_ASSIGN(nlohmann::ordered_json of_run, figures(run));
    json["runs"].push_back(std::move(of_run));
  }
  return print_json(json), Status{};
}

}  // namespace

void add_data_commands(CLI::App& app, Context& context) {
  CLI::App& group = *app.add_subcommand("data", "Look at data sets as clients read them");
  group.require_subcommand(1);
  auto options = std::make_shared<InspectOptions>();
  CLI::App& command =
      add_command(group, context, "inspect", "What a data source holds",
                  "shoal data inspect procedural:1:100:50\n  shoal data inspect readings.csv --label state",
                  [&context, options] { return inspect(context, *options); });
  command
      .add_option(
          "SOURCE", options->source,
          "A folder of IDX or CIFAR files, FILE.csv, FILE.safetensors, FILE.txt, procedural:SEED:WRITERS:EXAMPLES")
      ->required();
  command.add_option("--label", options->read.label_column, "CSV: the column with the class")->capture_default_str();
  command.add_option("--client", options->read.client_column, "CSV: the column whose values are the natural clients");
  command.add_option("--window", options->read.window, "Text: characters of an example")->check(CLI::Range(1u, 65536u));
  command.add_option("--window-step", options->read.window_step, "Text: characters from one example to the next")
      ->check(CLI::Range(1u, 1000000u));
  add_json_flag(command, context);
}

void add_report_command(CLI::App& app, Context& context) {
  auto runs = std::make_shared<std::vector<std::string>>();
  auto out = std::make_shared<std::string>("report.html");
  CLI::App& command =
      add_command(app, context, "report", "Draw one run, or several side by side, as a self-contained page",
                  "shoal report runs/fedavg runs/fedcompass -o comparison.html",
                  [&context, runs, out] { return report(context, *runs, *out); });
  command.add_option("RUN", *runs, "Run folders of shoal-sim or of `shoal job export`")->required();
  command.add_option("-o,--out", *out, "The page to write")->capture_default_str();
  add_json_flag(command, context);
}

}  // namespace shoal::cli
