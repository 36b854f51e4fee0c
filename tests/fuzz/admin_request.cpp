// A request line on the administration socket, answered by a service without devices and jobs.
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "coordinator/admin.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/support/service_host.h"

using namespace shoal;
using namespace shoal::coordinator;

FUZZ_TARGET(admin_request) {
  static testing::ServiceHost host;
  static Admin admin(
      host.service(),
      {[](const std::string&) -> Result<JobSpec> { return Error(ErrorCode::kInvalid, "no jobs here"); },
       [](const JobSpec& spec) { return spec.name; }, host.server_key(), "1.0", "abc", host.store.models});
  const std::string answer = admin.answer({reinterpret_cast<const char*>(input.data()), input.size()});
  const auto json = nlohmann::json::parse(answer, nullptr, false);
  SHOAL_CHECK(json.is_object() && json["ok"].is_boolean(), "an answer is not what docs/admin.md says");
  SHOAL_CHECK(answer.find('\n') == answer.npos, "an answer is more than a line");
}
