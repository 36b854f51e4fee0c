// `shoal model ...`: making, reading and handing on model files, without LibTorch.
#include <algorithm>
#include <cmath>
#include <memory>
#include <span>

#include "base/units.h"
#include "cli/commands.h"
#include "cli/model_source.h"
#include "cli/table.h"
#include "client/training/model_description.h"
#include "protocol/safetensors_file.h"

namespace shoal::cli {
namespace {

namespace training = client::training;

std::string shape_text(const std::vector<std::uint64_t>& shape) {
  std::string text;
  for (const std::uint64_t extent : shape) text += (text.empty() ? "" : " x ") + std::to_string(extent);
  return text.empty() ? "scalar" : text;
}

std::string short_number(double x, int digits = 3) {
  char text[32];
  std::snprintf(text, sizeof text, "%.*g", digits, x);
  return text;
}

std::string scales_text(const std::vector<training::InputScale>& scales) {
  if (scales.size() > 4) return "each of " + std::to_string(scales.size()) + " inputs by its own mean and deviation";
  std::string text;
  for (const auto& [mean, deviation] : scales)
    text += (text.empty() ? "mean " : "; mean ") + short_number(mean, 6) + ", deviation " + short_number(deviation, 6);
  return text;
}

struct InitOptions {
  ModelSource source;
  std::string file;
  std::uint64_t seed = 1;
};

Status init(const Context& context, const InitOptions& options) {
  SHOAL_TRY_ASSIGN(const auto description, describe(options.source));
  SHOAL_TRY_ASSIGN(const TensorLayout layout, training::layout_of(description));
  std::vector<float> values(layout.total());
  SHOAL_TRY(training::initialise(description, options.seed, values));
  SHOAL_TRY(protocol::write_model(
      options.file, layout, values,
      {{std::string(training::kModelMetadataKey), training::to_text(description)}, {"format", "pt"}}));
  if (context.json) {
    print_json({{"file", options.file}, {"architecture", options.source.architecture}, {"parameters", layout.total()}});
  } else {
    print_text("wrote " + options.file + ": " + options.source.architecture + ", " + grouped(layout.total()) +
               " parameters in " + std::to_string(layout.tensors().size()) + " tensors\n");
  }
  return {};
}

// Statistics that show at a glance whether a tensor is fresh, trained or broken.
struct Summary {
  double mean = 0, deviation = 0, largest = 0;
  std::uint64_t not_finite = 0;
};

Summary summarise(std::span<const float> values) {
  Summary s;
  double sum = 0, squares = 0;
  for (const float v : values) {
    if (!std::isfinite(v)) {
      ++s.not_finite;
      continue;
    }
    sum += v;
    squares += double{v} * v;
    s.largest = std::max(s.largest, std::abs(double{v}));
  }
  const auto n = static_cast<double>(std::max<std::uint64_t>(1, values.size() - s.not_finite));
  s.mean = sum / n;
  s.deviation = std::sqrt(std::max(0.0, squares / n - s.mean * s.mean));
  return s;
}

Status inspect(const Context& context, const std::string& path) {
  SHOAL_TRY_ASSIGN(const protocol::ModelFile model, protocol::read_model(path));
  nlohmann::ordered_json json{{"file", path}, {"parameters", model.layout.total()}, {"metadata", model.metadata}};
  json["tensors"] = nlohmann::ordered_json::array();
  Table table({{"TENSOR"},
               {"SHAPE"},
               {"GROUP"},
               {"PARAMETERS", Align::kRight},
               {"MEAN", Align::kRight},
               {"STD", Align::kRight},
               {"MAX |X|", Align::kRight}});
  std::uint64_t not_finite = 0;
  for (std::size_t i = 0; i < model.layout.tensors().size(); ++i) {
    const TensorSpec& tensor = model.layout.tensors()[i];
    const Summary s = summarise(std::span(model.values).subspan(model.layout.offset(i), model.layout.count(i)));
    not_finite += s.not_finite;
    table.add({tensor.name, shape_text(tensor.shape), tensor.group, grouped(model.layout.count(i)),
               short_number(s.mean), short_number(s.deviation), short_number(s.largest)});
    json["tensors"].push_back({{"name", tensor.name},
                               {"shape", tensor.shape},
                               {"group", tensor.group},
                               {"mean", s.mean},
                               {"std", s.deviation},
                               {"max", s.largest},
                               {"not_finite", s.not_finite}});
  }
  if (context.json) return print_json(json), Status{};
  std::vector<std::pair<std::string, std::string>> facts{
      {"file", path},
      {"parameters", grouped(model.layout.total()) + " (" + human_bytes(model.layout.total() * sizeof(float)) + ")"}};
  const auto described = model.metadata.find(std::string(training::kModelMetadataKey));
  if (described == model.metadata.end()) {
    facts.emplace_back("architecture", "not described; clients cannot train it, see `shoal model init`");
  } else if (const auto description = training::parse_description(described->second); description.ok()) {
    std::vector<std::uint64_t> input(description->input.begin(), description->input.end());
    facts.emplace_back("architecture", description->name);
    facts.emplace_back("input", shape_text(input));
    facts.emplace_back("classes", std::to_string(description->classes));
    if (!description->standardize.empty()) facts.emplace_back("standardized", scales_text(description->standardize));
  } else {
    facts.emplace_back("architecture", "broken: " + description.error().to_string());
  }
  if (not_finite > 0)
    facts.emplace_back("not finite", paint(grouped(not_finite) + " parameters", Color::kRed, context.terminal));
  print_text(render_facts(facts, context.terminal) + "\n" + table.render(context.terminal));
  return {};
}

Status export_model(const Context& context, const std::string& from, const std::string& to) {
  SHOAL_TRY_ASSIGN(const protocol::ModelFile model, protocol::read_model(from));
  TensorLayout layout = model.layout;
  SHOAL_TRY(protocol::write_model(to, layout, model.values, {{"format", "pt"}}));
  if (context.json) {
    print_json({{"file", to}, {"parameters", layout.total()}});
  } else {
    print_text("wrote " + to + "; in Python: model.load_state_dict(safetensors.torch.load_file(\"" + to + "\"))\n");
  }
  return {};
}

}  // namespace

void add_model_commands(CLI::App& app, Context& context) {
  CLI::App& group = *app.add_subcommand("model", "Make and read model files (safetensors)");
  group.require_subcommand(1);

  auto options = std::make_shared<InitOptions>();
  CLI::App& initialising =
      add_command(group, context, "init", "Make a fresh model for an input shape and a number of classes",
                  "shoal model init --arch cnn --input 1x28x28 --classes 10 model.safetensors",
                  [&context, options] { return init(context, *options); });
  add_architecture(initialising, options->source);
  initialising.get_option("--input")->required();
  initialising.get_option("--classes")->required();
  initialising.add_option("--seed", options->seed, "Seed of the initial values")->capture_default_str();
  initialising.add_option("FILE", options->file, "The file to write")->required();
  add_json_flag(initialising, context);

  auto path = std::make_shared<std::string>();
  CLI::App& inspecting =
      add_command(group, context, "inspect", "What a model file holds", "shoal model inspect model.safetensors",
                  [&context, path] { return inspect(context, *path); });
  inspecting.add_option("FILE", *path, "A safetensors file")->required();
  add_json_flag(inspecting, context);

  auto files = std::make_shared<std::pair<std::string, std::string>>();
  CLI::App& exporting = add_command(group, context, "export", "Write a model for other tools, without Shoal's metadata",
                                    "shoal model export runs/job-3/model.safetensors plain.safetensors",
                                    [&context, files] { return export_model(context, files->first, files->second); });
  exporting.add_option("FROM", files->first, "A model of Shoal")->required();
  exporting
      .add_option("TO", files->second, "The safetensors file to write, with names and shapes as a PyTorch state_dict")
      ->required();
  add_json_flag(exporting, context);

  add_model_profile(group, context);
  add_model_plan(group, context);
}

}  // namespace shoal::cli
