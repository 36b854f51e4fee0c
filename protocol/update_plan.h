// Which parameters a client trains: everything else keeps its bits and costs no memory for gradients.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/tensor_layout.h"

namespace shoal::protocol {

// For each tensor of `layout`, whether `plan` trains it:
//   full        all
//   head        the classifier
//   bias        the classifier, biases of layers and shifts of norms: linear layers need no stored inputs for these
//               (TinyTL-B, Cai et al. 2020)
//   norm        the classifier, scales and shifts of norms
//   lite        the classifier and the lite residual branches (TinyTL-L)
//   lite+bias   both (TinyTL-L+B), but for the branches' last shifts, which those of the main path make redundant
//   lora        the classifier and both factors of the low-rank branches (Hu et al. 2022)
//   lora-b      the classifier and the second factors: with the first ones the same everywhere, the mean of updates is
//               the mean of what they do (FFA-LoRA, Sun et al. 2024), and no layer's input is kept (LoRA-FA, Zhang et
//               al. 2023)
//   adapter     the classifier, adapters and norms (Houlsby et al. 2019)
// kInvalid for another name, and for one that does not find in this model what it is named for.
Result<std::vector<bool>> trained_by(std::string_view plan, const TensorLayout& layout);

std::span<const std::string_view> plan_names();
// kInvalid, with the names that there are.
Status check_plan(std::string_view plan);

}  // namespace shoal::protocol
