#include "protocol/update_plan.h"

#include <algorithm>
#include <array>
#include <string>

namespace shoal::protocol {
namespace {

struct Rule {
  std::string_view name;
  bool (*trains)(const TensorSpec& tensor);
};

bool is_shift(const TensorSpec& t) { return t.name.ends_with(".bias") || t.name.ends_with("_bias"); }

// Also those of lite residual branches.
bool is_norm(const TensorSpec& t) {
  return t.group == "norm" || (t.group == "lite" && t.name.find(".norm") != std::string::npos);
}

bool is_redundant(const TensorSpec& t) { return t.group == "lite" && t.name.ends_with(".norm2.bias"); }

constexpr std::array<Rule, 9> kRules{
    {{"full", [](const TensorSpec&) { return true; }},
     {"head", [](const TensorSpec& t) { return t.group == "head"; }},
     {"bias", [](const TensorSpec& t) { return t.group == "head" || is_shift(t); }},
     {"norm", [](const TensorSpec& t) { return t.group == "head" || is_norm(t); }},
     {"lite", [](const TensorSpec& t) { return t.group == "head" || t.group == "lite"; }},
     {"lite+bias",
      [](const TensorSpec& t) {
        return t.group == "head" || ((is_shift(t) || t.group == "lite") && !is_redundant(t));
      }},
     {"lora", [](const TensorSpec& t) { return t.group == "head" || t.group == "lora"; }},
     {"lora-b",
      [](const TensorSpec& t) {
        return t.group == "head" || (t.group == "lora" && t.name.ends_with(".lora_B.weight"));
      }},
     {"adapter", [](const TensorSpec& t) { return t.group == "head" || t.group == "adapter" || t.group == "norm"; }}}};

constexpr auto kNames = [] {
  std::array<std::string_view, kRules.size()> names;
  for (std::size_t i = 0; i < kRules.size(); ++i) names[i] = kRules[i].name;
  return names;
}();

}  // namespace

std::span<const std::string_view> plan_names() { return kNames; }

Status check_plan(std::string_view plan) {
  if (std::ranges::find(kNames, plan) != kNames.end()) return {};
  std::string known;
  for (const std::string_view name : kNames) known += (known.empty() ? "" : ", ") + std::string(name);
  return Error(ErrorCode::kInvalid, "no training plan is called \"" + std::string(plan) + "\"; there are " + known);
}

Result<std::vector<bool>> trained_by(std::string_view plan, const TensorLayout& layout) {
  SHOAL_TRY(check_plan(plan));
  const auto rule = std::ranges::find(kRules, plan, &Rule::name);
  const std::span<const TensorSpec> tensors = layout.tensors();
  std::vector<bool> trained;
  for (const TensorSpec& tensor : tensors) trained.push_back(rule->trains(tensor));
  const auto has = [&](std::string_view group) {
    return std::ranges::find(tensors, group, &TensorSpec::group) != tensors.end();
  };
  if (plan.starts_with("lite") && !has("lite"))
    return Error(
        ErrorCode::kInvalid,
        "plan '" + std::string(plan) +
            "' trains lite residual branches, and the model has none; make it with an architecture that ends in -lite");
  if (plan.starts_with("lora") && !has("lora"))
    return Error(ErrorCode::kInvalid, "plan '" + std::string(plan) +
                                          "' trains low-rank branches, and the model has none; make it with an "
                                          "architecture that ends in -lora8 or another rank");
  if (plan == "adapter" && !has("adapter"))
    return Error(ErrorCode::kInvalid,
                 "plan 'adapter' trains adapters, and the model has none; make it with an architecture that ends in "
                 "-adapter16 or another number of features");
  if (plan == "norm" && !has("norm"))
    return Error(ErrorCode::kInvalid, "plan 'norm' trains norms, and the model has none");
  if (std::ranges::find(trained, true) == trained.end())
    return Error(ErrorCode::kInvalid,
                 "plan '" + std::string(plan) +
                     "' finds nothing to train: the model file does not name the tensor groups that it needs");
  return trained;
}

}  // namespace shoal::protocol
