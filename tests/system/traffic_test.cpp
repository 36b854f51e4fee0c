// Bytes by device, by job and in all, as the service counts them where they cross the wire.
#include <gtest/gtest.h>

#include "tests/support/service_host.h"

namespace shoal::testing {
namespace {

namespace message = protocol::message;
using coordinator::Service;
using protocol::Traffic;

constexpr std::uint64_t kMessages = 3000;  // more than the control messages of a round take, one way

class Forget final : public protocol::ChunkSink {
  Status write(std::uint32_t, std::span<const std::byte>) override { return {}; }
  void complete() override {}
};

class ServiceTraffic : public ::testing::Test {
 protected:
  // A job of one round by one device.
  JobId submit(const std::string& name, std::uint64_t floats) {
    coordinator::JobSpec spec;
    spec.name = name;
    spec.rounds = 1;
    spec.fedavg.cohort = 1;
    return host.submit(spec, floats);
  }
  void fetch(ScriptedDevice& device, AssignmentId assignment) {
    device.send(message::FetchModel{assignment});
    const auto model = device.expect<message::ModelTicket>();
    Forget forget;
    const Status fetched = protocol::zmq::make_bulk_client()->download(model.ticket, model.object, 0, forget,
                                                                       std::chrono::seconds(20), [] { return true; });
    ASSERT_TRUE(fetched.ok()) << fetched.error().to_string();
  }
  void deliver(ScriptedDevice& device, AssignmentId assignment, std::uint64_t floats) {
    ScriptedUpdate update = ScriptedUpdate::of(assignment, floats, 0.5f);
    ASSERT_TRUE(device.upload(update).ok());
    device.expect<message::Receipt>();
  }
  double metric(const std::string& name, coordinator::Label label = {}) { return host.metrics().value(name, label); }
  // Waits until all that crossed the wire is somebody's.
  void await_sum(const std::vector<std::uint64_t>& devices) {
    host.await("the sum", [&](Service& s) {
      Traffic sum;
      for (const std::uint64_t device : devices) sum += s.traffic_of(DeviceId{device});
      return sum == host.moved();
    });
    const Traffic moved = host.ask([&](Service&) { return host.moved(); });
    EXPECT_EQ(metric("shoal_control_received_bytes_total") + metric("shoal_bulk_received_bytes_total"),
              static_cast<double>(moved.up));
    EXPECT_EQ(metric("shoal_control_sent_bytes_total") + metric("shoal_bulk_sent_bytes_total"),
              static_cast<double>(moved.down));
  }
  template <class Id>
  Traffic traffic_of(Id id) {
    return host.ask([id](Service& s) { return s.traffic_of(id); });
  }

  ServiceHost host;
};

TEST_F(ServiceTraffic, JobsOnDifferentDevicesHaveTheirOwnBytes) {
  constexpr std::uint64_t kSmall = 100'000, kLarge = 300'000;
  ScriptedDevice first = host.enrol(), second = host.enrol();
  first.join();
  const JobId small = submit("small", kSmall);
  const AssignmentId of_small = first.expect<message::Assign>().assignment.id;
  second.join();
  const JobId large = submit("large", kLarge);
  const AssignmentId of_large = second.expect<message::Assign>().assignment.id;

  fetch(second, of_large);
  deliver(first, of_small, kSmall);
  deliver(second, of_large, kLarge);
  host.await_version(small, 1);
  host.await_version(large, 1);
  await_sum({1, 2});

  const auto expect_near = [](std::uint64_t bytes, std::uint64_t floats) {
    EXPECT_GT(bytes, floats * sizeof(float));
    EXPECT_LT(bytes, floats * sizeof(float) + kMessages);
  };
  const Traffic small_job = traffic_of(small), large_job = traffic_of(large);
  expect_near(small_job.up, kSmall);
  expect_near(small_job.down, 0);
  expect_near(large_job.up, kLarge);
  expect_near(large_job.down, kLarge);
  const auto row = host.ask([&](Service& s) { return s.history().row(large, 1).value(); });
  expect_near(row.bytes_up, kLarge);
  expect_near(row.bytes_down, kLarge);

  // A device's bytes are its job's and those of coming online.
  for (const auto& [device, job] : {std::pair(DeviceId{1}, small_job), std::pair(DeviceId{2}, large_job)}) {
    const Traffic all = traffic_of(device);
    EXPECT_GT(all.up, job.up);
    EXPECT_LT(all.up, job.up + kMessages);
    EXPECT_GT(all.down, job.down);
    EXPECT_LT(all.down, job.down + kMessages);
  }
  EXPECT_EQ(metric("shoal_job_received_bytes_total", {"job", "small"}), static_cast<double>(small_job.up));
  EXPECT_EQ(metric("shoal_job_sent_bytes_total", {"job", "large"}), static_cast<double>(large_job.down));
}

TEST_F(ServiceTraffic, WhatIsSaidBetweenJobsIsTheDevicesOnly) {
  constexpr std::uint64_t kFloats = 1000;
  ScriptedDevice device = host.enrol();
  device.join();
  const JobId job = submit("job", kFloats);
  deliver(device, device.expect<message::Assign>().assignment.id, kFloats);
  host.await_version(job, 1);
  await_sum({1});
  const Traffic of_job = traffic_of(job), of_device = traffic_of(DeviceId{1});

  device.send(message::Heartbeat{});
  host.await("a heartbeat", [&](Service& s) { return s.traffic_of(DeviceId{1}).up > of_device.up; });
  device.hang_up();
  device.join();
  host.await("a welcome", [&](Service& s) { return s.traffic_of(DeviceId{1}).down > of_device.down; });
  EXPECT_EQ(traffic_of(job), of_job);
}

TEST_F(ServiceTraffic, AStrangersBytesAreNobodys) {
  ScriptedDevice guest = host.stranger(host.invite(host.unix_seconds + 60));
  guest.connect();
  guest.send(message::Heartbeat{});
  guest.expect_refusal();
  await_sum({0});
  EXPECT_GT(traffic_of(DeviceId{}).up, 0u);
}

}  // namespace
}  // namespace shoal::testing
