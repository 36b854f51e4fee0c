// Control messages for tests: one fixed sample of each kind (the golden files and fuzz seeds), and random ones.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "protocol/messages.h"

namespace shoal::protocol {

// Every kind at least once, by file name. Changing one changes a golden file: add instead.
std::vector<std::pair<std::string, DeviceMessage>> sample_device_messages();
std::vector<std::pair<std::string, CoordinatorMessage>> sample_coordinator_messages();

// Any kind, every member anywhere within its limits.
DeviceMessage random_device_message(Stream& stream);
CoordinatorMessage random_coordinator_message(Stream& stream);

}  // namespace shoal::protocol
