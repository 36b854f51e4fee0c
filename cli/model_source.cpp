#include "cli/model_source.h"

#include <algorithm>
#include <sstream>

#include "protocol/safetensors_file.h"

namespace shoal::cli {

namespace training = client::training;

Result<training::Shape> parse_shape(const std::string& text) {
  training::Shape shape;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, 'x');) {
    const bool digits = !part.empty() && part.size() < 10 &&
                        std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (!digits || std::stoul(part) == 0)
      return Error(ErrorCode::kInvalid, "\"" + text + "\" is not a shape; write it like 1x28x28 or 30");
    shape.push_back(static_cast<std::uint32_t>(std::stoul(part)));
  }
  if (shape.empty()) return Error(ErrorCode::kInvalid, "the input shape is empty; write it like 1x28x28 or 30");
  return shape;
}

Result<training::ModelDescription> describe(const ModelSource& source) {
  if (!source.file.empty()) {
    SHOAL_TRY_ASSIGN(const protocol::SafetensorsFile file, protocol::SafetensorsFile::open(source.file));
    const auto text = file.header().metadata.find(std::string(training::kModelMetadataKey));
    if (text == file.header().metadata.end())
      return Error(ErrorCode::kInvalid, source.file + " does not describe its architecture; see `shoal model init`");
    return training::parse_description(text->second);
  }
  // What mobile networks are published for.
  const bool mobile = source.architecture.starts_with("mobilenet") || source.architecture.starts_with("proxyless");
  if (!mobile && (source.input.empty() || source.classes == 0))
    return Error(ErrorCode::kInvalid, "name a model file, or an architecture with --input and --classes");
  SHOAL_TRY_ASSIGN(const training::Shape input, parse_shape(source.input.empty() ? "3x224x224" : source.input));
  return training::make_description(source.architecture, input, source.classes == 0 ? 1000 : source.classes,
                                    source.standardize);
}

void add_architecture(CLI::App& command, ModelSource& source) {
  std::string names;
  for (const std::string_view name : training::catalogue_names())
    names += (names.empty() ? "" : ", ") + std::string(name);
  command.add_option("--arch", source.architecture, "Architecture: " + names)->capture_default_str();
  command.add_option(
      "--input", source.input,
      "Shape of one example, channels first: 1x28x28, or 30 for flat features; mobile networks: 3x224x224");
  command.add_option("--classes", source.classes, "Number of classes; mobile networks: 1000")
      ->check(CLI::Range(1u, 1000000u));
  command.add_option("--standardize", source.standardize,
                     "Mean and deviation of the inputs, which clients standardize with: 0.1307,0.3081 (MNIST), or such "
                     "a pair for every channel");
}

void add_model_source(CLI::App& command, ModelSource& source) {
  add_architecture(command, source);
  command.add_option("FILE", source.file, "A model file, in place of --arch");
}

}  // namespace shoal::cli
