// A snapshot of the coordinator's state as recovery reads it.
#include "base/check.h"
#include "coordinator/machine.h"
#include "tests/fuzz/fuzz_target.h"

using namespace shoal::coordinator;

FUZZ_TARGET(machine_snapshot) {
  const auto machine = Machine::load({reinterpret_cast<const char*>(input.data()), input.size()});
  if (!machine.ok()) return;
  SHOAL_CHECK(machine->broken_invariants().empty(), "a state that contradicts itself was loaded");
  const std::string bytes = machine->save();
  const auto again = Machine::load(bytes);
  SHOAL_CHECK(again.ok() && again->save() == bytes, "a state does not survive being written");
  static_cast<void>(machine->next_timer());
  static_cast<void>(machine->open_folds());
  static_cast<void>(machine->quiet());
  for (const auto device : machine->online()) static_cast<void>(machine->assignment_of(device, shoal::Time{}));
  for (const auto& job : machine->jobs()) static_cast<void>(machine->job(job.job)->devices_wanted);
}
