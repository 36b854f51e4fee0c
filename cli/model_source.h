// The model that a command is about: a file, or one of the catalogue for an input shape.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

#include "base/result.h"
#include "client/training/model_description.h"

namespace shoal::cli {

struct ModelSource {
  std::string file = {};  // or:
  std::string architecture = "2nn", input = {}, standardize = {};
  std::uint32_t classes = 0;
};

// "1x28x28" to {1, 28, 28}; "30" to {30}.
Result<client::training::Shape> parse_shape(const std::string& text);

// kInvalid or kNotFound, with what to write instead.
Result<client::training::ModelDescription> describe(const ModelSource& source);

// --arch, --input, --classes and --standardize.
void add_architecture(CLI::App& command, ModelSource& source);
// The same, or FILE.
void add_model_source(CLI::App& command, ModelSource& source);

}  // namespace shoal::cli
