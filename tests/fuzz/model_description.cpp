// The description of a model, which comes with a file from elsewhere.
#include "client/training/model_description.h"

#include "base/check.h"
#include "tests/fuzz/fuzz_target.h"

using namespace shoal::client::training;

FUZZ_TARGET(model_description) {
  const auto model = parse_description({reinterpret_cast<const char*>(input.data()), input.size()});
  if (!model.ok()) return;
  const auto again = parse_description(to_text(*model));
  SHOAL_CHECK(again.ok() && *again == *model, "a model description does not survive being written");
  const auto layout = layout_of(*model);  // may refuse repeated names and too many parameters, but nothing else
  SHOAL_CHECK(!layout.ok() || layout->total() > 0, "a model without parameters");
}
