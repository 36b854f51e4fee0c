// The coordinator's memory under load stays under its limit.
#include <gtest/gtest.h>

#include <future>

#include "protocol/invitation.h"
#include "protocol/keys.h"
#include "tests/support/federation.h"
#include "tests/support/scripted_device.h"

namespace shoal::testing {
namespace {

namespace message = protocol::message;

constexpr std::uint64_t kMiB = 1 << 20;
constexpr std::size_t kDevices = 64;
constexpr std::uint64_t kFloats = 10'000'000;  // updates of 40 MB
// All that waits here waits for the slowest of 64.
constexpr Duration kLimit = std::chrono::minutes(2);

// A device that has redeemed its invitation.
ScriptedDevice enrol(const protocol::Invitation& invitation) {
  message::Redeem redeem;
  redeem.name = "scripted";
  const protocol::KeyPair keys = protocol::make_key_pair().value();
  redeem.device_key = keys.public_key;
  ScriptedDevice guest(invitation.endpoint, invitation.server_key, invitation.key);
  guest.connect();
  guest.send(redeem);
  guest.expect<message::Redeemed>();
  return {invitation.endpoint, invitation.server_key, keys};
}

// From the assignment to the receipt, without a look at the model.
void take_part(ScriptedDevice& device) {
  const AssignmentId id = device.expect<message::Assign>(kLimit).assignment.id;
  ScriptedUpdate update(id, kFloats * sizeof(float));
  const Status uploaded = device.upload(update);
  if (!uploaded.ok()) throw std::runtime_error(uploaded.error().to_string());
  device.expect<message::Receipt>(kLimit);
}

TEST(Memory, SixtyFourUpdatesOfFortyMegabytesAtOnceStayUnderTheLimit) {
  Federation federation({"memory_limit=256MiB"});
  federation.start_coordinator();
  std::vector<ScriptedDevice> devices;
  const Json invited = federation.admin("device.invite", {{"count", kDevices}});
  for (const Json& text : invited.at("invitations"))
    devices.push_back(enrol(protocol::parse_invitation(text.get<std::string>()).value()));
  ASSERT_EQ(devices.size(), kDevices);
  for (ScriptedDevice& device : devices) device.join();
  write_model(federation.path("model.safetensors"), kFloats);
  const std::uint64_t job = federation.submit("name = \"load\"\nrounds = 1\n[fedavg]\ncohort = 64\ndeadline = \"1h\"\n",
                                              federation.path("model.safetensors"));
  std::vector<std::future<void>> parts;
  for (ScriptedDevice& device : devices)
    parts.push_back(std::async(std::launch::async, [&device] { take_part(device); }));
  for (std::future<void>& part : parts) part.get();
  const std::uint64_t received = federation.coordinator().peak_memory();
  const Json end = federation.await_end(job, kLimit);
  EXPECT_EQ(end.at("status"), "completed");
  EXPECT_EQ(end.at("updates"), kDevices);
  const std::uint64_t peak = federation.coordinator().peak_memory();
  std::printf("peak memory of the coordinator: %.1f MiB receiving, %.1f MiB with the fold\n",
              static_cast<double>(received) / kMiB, static_cast<double>(peak) / kMiB);
  EXPECT_GT(received, 0u);
#ifdef SHOAL_SANITIZED
  GTEST_SKIP() << "all but the limit was tested: a sanitizer takes memory of its own";
#endif
  EXPECT_LT(peak, 256 * kMiB);
}

}  // namespace
}  // namespace shoal::testing
