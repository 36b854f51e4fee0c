// The file of `shoal job submit`: a job's options and, beside them, the model it starts from.
#pragma once

#include <string>

#include "coordinator/job_spec.h"

namespace shoal::cli {

struct JobFile {
  std::string model = "model.safetensors";
  coordinator::JobSpec spec;

  template <class Visitor>
  void visit(Visitor& v) {
    v("model", model, any, "Initial model, a safetensors file beside this one; `shoal model init` makes it");
    spec.visit(v);
  }
};

}  // namespace shoal::cli
