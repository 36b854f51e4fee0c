// How programs start, stop, refuse and are administered: exit codes, messages and pages, as operators see them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/archive.h"
#include "build_info.h"
#include "coordinator/registry.h"
#include "coordinator/rocksdb/journal.h"
#include "tests/support/federation.h"

namespace shoal::testing {
namespace {

using ::testing::HasSubstr;

constexpr char kForEver[] = "name = \"long\"\nrounds = 1000000\n[fedavg]\ncohort = 1\ndeadline = \"1h\"\n";

class Lifecycle : public ::testing::Test {
 protected:
  std::string model() {
    write_model(federation_.path("model.safetensors"), 1000);
    return federation_.path("model.safetensors");
  }
  // A job file for the command line.
  std::string job_file(const std::string& spec) {
    model();
    const std::string path = federation_.path("job.toml");
    std::ofstream(path) << "model = \"model.safetensors\"\n" << spec;
    return path;
  }
  // While the coordinator does not run.
  std::unique_ptr<coordinator::Journal> journal() const {
    coordinator::JournalOptions options;
    options.folder = federation_.data() + "/journal";
    options.build = std::string(kVersion) + "-" + kGitHash;
    return coordinator::open_journal(options).value();
  }
  ExitCode end_of_client(std::size_t client) {
    const auto code = federation_.client(client).wait(kPatience);
    if (!code) throw std::runtime_error("the client goes on: " + federation_.client_log(client));
    return *code;
  }
  // A client in a folder of its own that ends by itself.
  Finished failing_client(const std::string& state, const std::string& invitation = "", const Settings& settings = {}) {
    Settings all{"data=procedural:1:1:50"};
    all.insert(all.end(), settings.begin(), settings.end());
    return run(federation_.client_command(federation_.path(state), all, invitation));
  }

  Federation federation_;
};

// ---- the coordinator's life ----

TEST_F(Lifecycle, SigtermDrainsAndTheJobGoesOnAfterTheRestart) {
  federation_.start_coordinator();
  federation_.add_client();
  const std::uint64_t job = federation_.submit(kForEver, model());
  federation_.await_version(job, 3);
  EXPECT_EQ(federation_.stop_coordinator(), 0);
  EXPECT_THAT(federation_.coordinator_log(), HasSubstr("draining"));
  EXPECT_NE(federation_.client(0).await_log("the coordinator drains", kPatience), std::string::npos);
  federation_.start_coordinator();
  const Json before = federation_.admin("job.show", {{"job", job}});
  EXPECT_EQ(before.at("status"), "running");
  EXPECT_GE(before.at("version"), 3u);
  federation_.await_version(job, before.at("version").get<std::uint64_t>() + 2);
  const Json rows = federation_.admin("job.follow", {{"job", job}}).at("rows");
  for (std::size_t i = 1; i < rows.size(); ++i)
    for (const char* bytes : {"bytes_up", "bytes_down"})
      EXPECT_GT(rows[i].at(bytes), rows[i - 1].at(bytes)) << "a job's bytes go on after a restart: row " << i;
}

TEST_F(Lifecycle, SigtermEndsAtOnceWhileSomebodyFollowsAJob) {
  federation_.start_coordinator();
  federation_.add_client();
  federation_.submit(kForEver, model());
  ProcessOptions follow;
  follow.command = {program("shoal"), "job", "follow", "long", "--json"};
  follow.environment = {"SHOAL_SOCKET=" + federation_.socket()};
  Process follower(follow);
  federation_.await("the first round", [&] { return follower.output().find("\"version\"") != std::string::npos; });
  federation_.kill_client(0);  // no more news: from now on the follower waits
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(federation_.stop_coordinator(), 0);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(2));
  EXPECT_EQ(follower.wait(kPatience), 3);
  EXPECT_THAT(follower.log(), HasSubstr("the coordinator is stopping"));
}

TEST_F(Lifecycle, SigtermEndsAClientWithAGoodbye) {
  federation_.start_coordinator();
  federation_.add_client();
  federation_.client(0).signal(SIGTERM);
  EXPECT_EQ(end_of_client(0), 0);
  EXPECT_NE(federation_.coordinator().await_log("goodbye device=1", kPatience), std::string::npos);
}

TEST_F(Lifecycle, WhatAClientCannotDoIsToldWithItsReasonOnBothSides) {
  federation_.start_coordinator();
  federation_.add_client({"memory_limit=64KiB"});
  write_model(federation_.path("large.safetensors"), 100'000);
  federation_.submit(kForEver, federation_.path("large.safetensors"));
  EXPECT_NE(federation_.client(0).await_log("failed (budget-too-small)", kPatience), std::string::npos);
  EXPECT_NE(federation_.client(0).await_log("memory_limit is 65.5 KB; raise it", kPatience), std::string::npos);
  federation_.await("the count",
                    [&] { return federation_.metric("shoal_refusals_total{reason=\"budget-too-small\"}") >= 1; });
  EXPECT_EQ(federation_.metric("shoal_refusals_total{reason=\"round-abandoned\"}"), 0);
  const Json shown = federation_.admin("device.show", {{"id", 1}}).at("last_refusal");
  EXPECT_EQ(shown.at("reason"), "budget-too-small");
  EXPECT_THAT(shown.at("detail").get<std::string>(), HasSubstr("memory_limit is 65.5 KB"));
}

TEST_F(Lifecycle, ASecondCoordinatorOnTheSameDataIsRefusedWithThePidOfTheFirst) {
  federation_.start_coordinator();
  const auto port = [] { return std::to_string(free_port()); };
  const Finished second = run(federation_.coordinator_command(
      {"control=tcp://127.0.0.1:" + port(), "bulk=tcp://127.0.0.1:" + port(), "http=127.0.0.1:" + port()}));
  EXPECT_EQ(second.code, 3);
  EXPECT_THAT(second.log, HasSubstr("pid " + std::to_string(federation_.coordinator().pid())));
  EXPECT_EQ(federation_.get("/healthz").status, 200);
}

TEST_F(Lifecycle, APortInUseIsToldByItsEndpoint) {
  federation_.start_coordinator();
  Federation other({"control=" + federation_.control()});
  const Finished second = run(other.coordinator_command());
  EXPECT_EQ(second.code, 3);
  EXPECT_THAT(second.log, HasSubstr(federation_.control()));
}

TEST_F(Lifecycle, AStateOfAnotherBuildIsRefusedWithTheWayOutWhileAJobIsOpen) {
  federation_.start_coordinator();
  federation_.add_client();
  federation_.submit(kForEver, model());
  ASSERT_EQ(federation_.stop_coordinator(), 0);
  ASSERT_TRUE(journal()->put("settings", "build", "0.0.1-of-yore").ok());
  const Finished refused = run(federation_.coordinator_command());
  EXPECT_EQ(refused.code, 2);
  EXPECT_THAT(refused.log, HasSubstr("0.0.1-of-yore"));
  EXPECT_THAT(refused.log, HasSubstr("--discard-open-rounds"));

  ProcessOptions anew = federation_.coordinator_command();
  anew.command.emplace_back("--discard-open-rounds");
  Process coordinator(anew);
  ASSERT_NE(coordinator.await_log(" admin=", kPatience), std::string::npos) << coordinator.log();
  EXPECT_TRUE(federation_.admin("job.list").at("jobs").empty());
  EXPECT_EQ(federation_.admin("device.list").at("devices").size(), 1u) << "devices stay enrolled";
}

TEST_F(Lifecycle, PagesTellHealthAndCounts) {
  federation_.start_coordinator();
  federation_.add_client();
  const std::uint64_t job = federation_.submit("name = \"pages\"\nrounds = 2\n[fedavg]\ncohort = 1\n", model());
  federation_.await_end(job);
  EXPECT_EQ(federation_.get("/healthz").status, 200);
  federation_.await("readiness", [&] { return federation_.get("/readyz").status == 200; });
  EXPECT_THAT(federation_.get("/metrics").body,
              HasSubstr("# TYPE shoal_receipts_total counter\nshoal_receipts_total 2\n"));
  EXPECT_EQ(federation_.metric("shoal_updates_folded_total{job=\"pages\"}"), 2);
  EXPECT_EQ(federation_.metric("shoal_job_version{job=\"pages\"}"), 2);
  EXPECT_EQ(federation_.get("/nothing").status, 404);
}

TEST_F(Lifecycle, AFullDiskIsNotReady) {
  federation_.start_coordinator({"min_free_disk=1000000GiB"});
  EXPECT_NE(federation_.coordinator().await_log("the disk is full", kPatience), std::string::npos);
  federation_.await("the state", [&] { return federation_.get("/readyz").status == 503; });
  EXPECT_EQ(federation_.get("/healthz").status, 200);
  const auto refused = federation_.ask("job.submit", {{"spec", kForEver}, {"model", model()}});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), ErrorCode::kExhausted);
}

TEST_F(Lifecycle, AJobThatWaitsForDevicesSaysSo) {
  federation_.start_coordinator();
  federation_.add_client();
  federation_.submit("name = \"lonely\"\nrounds = 1\n[fedavg]\ncohort = 2\n", model());
  EXPECT_NE(federation_.coordinator().await_log("job=lonely: waiting for 2 devices, 1 idle", kPatience),
            std::string::npos);
}

// ---- who is let in ----

TEST_F(Lifecycle, ARevokedDeviceEndsAndStaysOut) {
  federation_.start_coordinator();
  federation_.add_client();
  federation_.admin("device.revoke", {{"id", 1}});
  EXPECT_EQ(end_of_client(0), 3);
  EXPECT_THAT(federation_.client_log(0), HasSubstr("revoked: this device was revoked by the operator"));
  federation_.start_client(0);
  EXPECT_EQ(end_of_client(0), 3);
  EXPECT_THAT(federation_.client(0).log(), HasSubstr("revoked: this device was revoked by the operator"));
  EXPECT_THAT(federation_.client(0).log(), HasSubstr("another --state folder"));
  const Json shown = federation_.admin("device.show", {{"id", 1}});
  EXPECT_EQ(shown.at("standing"), "revoked");
  EXPECT_EQ(shown.at("last_refusal").at("reason"), "revoked");
  EXPECT_GE(federation_.metric("shoal_refusals_total{reason=\"revoked\"}"), 2);
}

TEST_F(Lifecycle, AnExpiredInvitationIsRefused) {
  federation_.start_coordinator();
  const std::string invitation = federation_.invite(1);
  federation_.await("expiry", [&] { return federation_.admin("status").at("open_invitations") == 0; });
  const Finished refused = failing_client("late", invitation);
  EXPECT_EQ(refused.code, 3);
  EXPECT_THAT(refused.log, HasSubstr("invitation-expired"));
  EXPECT_EQ(federation_.metric("shoal_refusals_total{reason=\"invitation-expired\"}"), 1);
}

TEST_F(Lifecycle, AnInvitationServesOneDevice) {
  federation_.start_coordinator();
  federation_.add_client();
  const Finished refused = failing_client("second", federation_.path("invitation-0"));
  EXPECT_EQ(refused.code, 3);
  EXPECT_THAT(refused.log, HasSubstr("invitation-used"));
  EXPECT_EQ(federation_.metric("shoal_refusals_total{reason=\"invitation-used\"}"), 1);
  EXPECT_EQ(federation_.admin("device.list").at("devices").size(), 1u);
}

TEST_F(Lifecycle, AnUnknownKeyEndsAtTheHandshake) {
  federation_.start_coordinator();
  federation_.add_client();
  // The device that the first coordinator knows is a stranger to one with the same key and a state of its own.
  federation_.stop_coordinator();
  std::filesystem::remove_all(federation_.data() + "/journal");
  federation_.start_coordinator();
  EXPECT_EQ(end_of_client(0), 3);
  EXPECT_THAT(federation_.client_log(0), HasSubstr("unknown-key"));
  federation_.await("the count", [&] { return federation_.metric("shoal_control_handshakes_denied_total") >= 1; });
}

TEST_F(Lifecycle, ADeviceThatWasRevokedJoinsWithAnInvitationAndAnotherFolder) {
  federation_.start_coordinator();
  federation_.add_client();
  federation_.admin("device.revoke", {{"id", 1}});
  EXPECT_EQ(end_of_client(0), 3);
  Process anew(federation_.client_command(federation_.path("anew"), {"data=procedural:1:1:50"}, federation_.invite()));
  EXPECT_NE(anew.await_log("online as device 2", kPatience), std::string::npos) << anew.log();
}

TEST_F(Lifecycle, AUnitFileThatAlwaysJoinsGoesOnWhenItsInvitationIsForgotten) {
  federation_.start_coordinator();
  const auto command =
      federation_.client_command(federation_.path("unit"), {"data=procedural:1:1:50"}, federation_.invite());
  {
    Process first(command);
    ASSERT_NE(first.await_log("online as device 1", kPatience), std::string::npos) << first.log();
  }
  federation_.stop_coordinator();
  {  // two days later
    const auto kept = journal();
    const auto rows = kept->scan("invitations").value();
    ASSERT_EQ(rows.size(), 1u);
    auto invitation = decode_state<coordinator::InvitationRecord>(rows[0].second).value();
    invitation.expires_at -= std::int64_t{2} * 24 * 3600;
    ASSERT_TRUE(kept->put("invitations", rows[0].first, encode_state(invitation)).ok());
  }
  federation_.start_coordinator();
  Process again(command);
  EXPECT_NE(again.await_log("online as device 1", kPatience), std::string::npos) << again.log();
  federation_.stop_coordinator();
  EXPECT_TRUE(journal()->scan("invitations").value().empty()) << "an old invitation still passes the handshake";
}

TEST_F(Lifecycle, AWrongServerKeyIsNotTalkedTo) {
  federation_.start_coordinator();
  const std::string invitation = federation_.invite();
  federation_.stop_coordinator();
  std::filesystem::remove(federation_.data() + "/server.key");
  federation_.start_coordinator();
  const Finished refused = failing_client("misled", invitation);
  EXPECT_EQ(refused.code, 3);
  EXPECT_THAT(refused.log, HasSubstr("server key"));
}

TEST_F(Lifecycle, TheNewerOfTwoSessionsWithOneKeyWinsAndBothAreLogged) {
  federation_.start_coordinator();
  federation_.add_client();
  std::filesystem::copy(federation_.client_state(0), federation_.path("copy"),
                        std::filesystem::copy_options::recursive);
  Process newer(federation_.client_command(federation_.path("copy"), {"data=procedural:1:1:50"}));
  ASSERT_NE(newer.await_log("online as device 1", kPatience), std::string::npos) << newer.log();
  EXPECT_EQ(end_of_client(0), 3);
  EXPECT_THAT(federation_.client_log(0), HasSubstr("replaced-session"));
  EXPECT_THAT(federation_.coordinator_log(), HasSubstr("two sessions of device=1"));
  EXPECT_EQ(federation_.metric("shoal_refusals_total{reason=\"replaced-session\"}"), 1);
  EXPECT_TRUE(newer.running());
}

TEST_F(Lifecycle, ADeviceThatNeedsApprovalWaitsForIt) {
  federation_.start_coordinator({"approval=manual"});
  Process client(federation_.client_command(federation_.path("new"), {"data=procedural:1:1:50"}, federation_.invite()));
  ASSERT_NE(client.await_log("enrolled as device 1; the operator has not approved", kPatience), std::string::npos)
      << client.log();
  EXPECT_EQ(federation_.admin("device.show", {{"id", 1}}).at("standing"), "pending");
  client.kill();
  Process again(federation_.client_command(federation_.path("new"), {"data=procedural:1:1:50"}));
  ASSERT_NE(again.await_log("awaiting-approval", kPatience), std::string::npos) << again.log();
  EXPECT_TRUE(again.running());
  again.kill();
  EXPECT_EQ(federation_.admin("device.approve", {{"id", 1}}).at("standing"), "approved");
  Process approved(federation_.client_command(federation_.path("new"), {"data=procedural:1:1:50"}));
  EXPECT_NE(approved.await_log("online as device 1", kPatience), std::string::npos) << approved.log();
}

TEST_F(Lifecycle, AClientWithoutEnrolmentSaysWhatToDo) {
  const Finished refused = failing_client("nobody");
  EXPECT_EQ(refused.code, 5);
  EXPECT_THAT(refused.log, HasSubstr("--join"));
}

// ---- the command line ----

TEST_F(Lifecycle, WaitExitsAsTheJobEnded) {
  federation_.start_coordinator();
  federation_.add_client();
  const std::string file = job_file("name = \"short\"\nrounds = 2\n[fedavg]\ncohort = 1\n");
  ASSERT_EQ(federation_.shoal({"job", "submit", file}).code, 0);
  const Finished completed = federation_.shoal({"job", "wait", "short"});
  EXPECT_EQ(completed.code, 0) << completed.log;

  ASSERT_EQ(federation_.shoal({"job", "submit", job_file(kForEver)}).code, 0);
  EXPECT_EQ(federation_.shoal({"job", "wait", "long", "--timeout", "100ms"}).code, 4);
  ASSERT_EQ(federation_.shoal({"job", "stop", "long"}).code, 0);
  const Finished stopped = federation_.shoal({"job", "wait", "long"});
  EXPECT_EQ(stopped.code, 1);
  EXPECT_THAT(stopped.log, HasSubstr("stopped"));
  EXPECT_EQ(federation_.shoal({"job", "wait", "unheard-of"}).code, 5);
}

TEST_F(Lifecycle, SubmittingTheSameAgainFindsTheSameJob) {
  federation_.start_coordinator();
  const std::string file = job_file(kForEver);
  const auto submit = [&](std::vector<std::string> more) {
    std::vector<std::string> words{"job", "submit", file, "--json"};
    words.insert(words.end(), more.begin(), more.end());
    const Finished done = federation_.shoal(words);
    EXPECT_EQ(done.code, 0) << done.log;
    return Json::parse(done.output);
  };
  const Json first = submit({}), again = submit({});
  EXPECT_EQ(first.at("submitted"), true);
  EXPECT_EQ(again.at("submitted"), false);
  EXPECT_EQ(first.at("id"), again.at("id"));
  // Also over a crash: the token is as durable as the job.
  federation_.kill_coordinator();
  federation_.start_coordinator();
  EXPECT_EQ(submit({}).at("id"), first.at("id"));
  EXPECT_NE(submit({"--token", "another"}).at("id"), first.at("id"));
  EXPECT_EQ(federation_.admin("job.list").at("jobs").size(), 2u);
}

TEST_F(Lifecycle, ACommandWithoutACoordinatorSaysSo) {
  const Finished status = federation_.shoal({"status"});
  EXPECT_EQ(status.code, 3);
  EXPECT_THAT(status.log, HasSubstr("start shoal-coordinator"));
}

}  // namespace
}  // namespace shoal::testing
