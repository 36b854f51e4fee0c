#include "coordinator/admin.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <future>
#include <nlohmann/json.hpp>

#include "coordinator/model_import.h"
#include "protocol/invitation.h"
#include "protocol/safetensors_file.h"
#include "tests/support/service_host.h"

namespace shoal::coordinator {
namespace {

using Json = nlohmann::json;

class AdminTest : public ::testing::Test {
 protected:
  AdminTest() {
    const TensorLayout layout = TensorLayout::make({{"w", {50}, "backbone"}}).value();
    EXPECT_TRUE(protocol::write_model(model, layout, std::vector<float>(50), {}).ok());
  }
  // The data of an answer; fails the test when it is an error.
  Json call(const std::string& op, Json args = Json::object()) {
    const Json answer = Json::parse(admin.answer(Json{{"op", op}, {"args", std::move(args)}}.dump()));
    EXPECT_TRUE(answer["ok"].get<bool>()) << answer.dump();
    return answer.value("data", Json());
  }
  std::string code(const std::string& request) {
    const Json answer = Json::parse(admin.answer(request));
    EXPECT_FALSE(answer["ok"].get<bool>());
    EXPECT_FALSE(answer["error"].get<std::string>().empty());
    return answer["code"];
  }
  Json submission(const std::string& token) const {
    return {{"spec", "two rounds"}, {"model", model}, {"token", token}};
  }

  // Stands for the TOML reader, which is another folder's.
  static Result<JobSpec> parse(const std::string& text) {
    if (text != "two rounds") return Error(ErrorCode::kInvalid, "not a job");
    JobSpec spec;
    spec.name = "two";
    spec.rounds = 2;
    return spec;
  }

  testing::TemporaryFolder folder;
  std::string model = folder.file("model.safetensors");
  testing::ServiceHost host;
  Admin admin{host.service(),
              {parse, [](const JobSpec& spec) { return "name = " + spec.name; }, host.server_key(), "1.0", "abc",
               host.store.models}};
};

TEST_F(AdminTest, SaysHowTheCoordinatorIs) {
  const Json status = call("status");
  EXPECT_EQ(status["version"], "1.0");
  EXPECT_EQ(status["devices"], 0);
  EXPECT_EQ(status["storage_full"], false);
}

TEST_F(AdminTest, MakesInvitationsThatAdmitADevice) {
  const Json texts = call("device.invite", {{"count", 2}})["invitations"];
  ASSERT_EQ(texts.size(), 2u);
  const auto invitation = protocol::parse_invitation(texts[0].get<std::string>());
  ASSERT_TRUE(invitation.ok());
  EXPECT_EQ(invitation->server_key, host.server_key());
  EXPECT_EQ(host.ask([&](Service& s) { return s.registry().admit(invitation->key.public_key); }),
            protocol::PeerClass::kInvitation);
  EXPECT_EQ(call("status")["open_invitations"], 2);
}

TEST_F(AdminTest, SubmitsOnceForEachToken) {
  const Json first = call("job.submit", submission("t"));
  EXPECT_EQ(first["submitted"], true);
  EXPECT_EQ(first["name"], "two");
  const Json again = call("job.submit", submission("t"));
  EXPECT_EQ(again["submitted"], false);
  EXPECT_EQ(again["id"], first["id"]);
  EXPECT_NE(call("job.submit", submission("other"))["id"], first["id"]);
  EXPECT_EQ(call("job.list")["jobs"].size(), 2u);
  EXPECT_EQ(call("job.show", {{"job", "two"}})["config"], "name = two");
}

TEST_F(AdminTest, TheSameTokenTwiceAtOnceIsOneJobAndOneModel) {
  std::vector<std::uint64_t> ids;
  for (int round = 0; round < 10; ++round) {
    const Json args = submission("t" + std::to_string(round));
    auto other = std::async(std::launch::async, [&] { return call("job.submit", args); });
    const Json mine = call("job.submit", args), theirs = other.get();
    EXPECT_EQ(mine["id"], theirs["id"]);
    EXPECT_NE(mine["submitted"], theirs["submitted"]);
  }
  EXPECT_EQ(call("job.list")["jobs"].size(), 10u);
}

TEST_F(AdminTest, ASecondImportForATokenIsDropped) {
  const JobSpec spec = parse("two rounds").value();
  const auto import = [&](JobId id) {
    return import_model(model, id, spec.training.plan, spec.optimizer, host.store.models).value();
  };
  const ModelRef first = import(JobId{1}), second = import(JobId{2});
  std::vector<JobId> done;
  host.ask([&](Service& s) {
    EXPECT_TRUE(s.submit(JobId{1}, spec, first, "t", [&](JobId id) { done.push_back(id); }).ok());
    EXPECT_TRUE(s.submit(JobId{2}, spec, second, "t", [&](JobId id) { done.push_back(id); }).ok());
    EXPECT_TRUE(done.empty()) << "told before it was durable";
    return true;
  });
  host.await("the answers", [&](Service&) { return done.size() == 2; });
  EXPECT_EQ(done, (std::vector{JobId{1}, JobId{1}}));
  EXPECT_TRUE(host.store.models.find(first).ok());
  EXPECT_FALSE(host.store.models.find(second).ok());
}

TEST_F(AdminTest, WhoeverWaitsWhenTheServiceEndsIsToldAtOnce) {
  const Json job = call("job.submit", submission(""));
  const auto begin = std::chrono::steady_clock::now();
  auto follower = std::async(std::launch::async, [&] {
    return code(Json{{"op", "job.follow"}, {"args", {{"job", job["id"]}, {"wait_ms", 30000}}}}.dump());
  });
  EXPECT_EQ(follower.wait_for(std::chrono::milliseconds(100)), std::future_status::timeout);
  host.end();
  EXPECT_EQ(follower.get(), "unavailable");
  EXPECT_EQ(code(R"({"op": "status"})"), "unavailable") << "asked after the end";
  EXPECT_EQ(code(Json{{"op", "job.submit"}, {"args", submission("")}}.dump()), "unavailable");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
}

TEST_F(AdminTest, StopsAJobAndTellsFollowersAtOnce) {
  const Json job = call("job.submit", submission(""));
  EXPECT_EQ(call("job.stop", {{"job", job["id"]}})["id"], job["id"]);
  const Json followed = call("job.follow", {{"job", job["id"]}, {"wait_ms", 30000}});
  EXPECT_EQ(followed["job"]["status"], "stopped");
  EXPECT_TRUE(followed["rows"].empty());
}

TEST_F(AdminTest, ExportsTheModelBitForBit) {
  const Json job = call("job.submit", submission(""));
  const std::string out = folder.file("out");
  EXPECT_EQ(call("job.export", {{"job", job["id"]}, {"folder", out}})["folder"], out);
  const auto exported = protocol::read_model(out + "/model.safetensors");
  ASSERT_TRUE(exported.ok());
  EXPECT_THAT(exported->values, ::testing::ElementsAreArray(std::vector<float>(50)));
  EXPECT_TRUE(std::filesystem::exists(out + "/config.toml"));
  EXPECT_TRUE(std::filesystem::exists(out + "/metrics.jsonl"));
}

TEST_F(AdminTest, RefusesWhatMakesNoSense) {
  EXPECT_EQ(code("not json"), "invalid");
  EXPECT_EQ(code("[1]"), "invalid");
  EXPECT_EQ(code(R"({"op": "job.dance"})"), "invalid");
  EXPECT_EQ(code(R"({"op": "device.show", "args": {"id": 9}})"), "not-found");
  EXPECT_EQ(code(R"({"op": "device.show", "args": {"id": "nine"}})"), "invalid");
  EXPECT_EQ(code(R"({"op": "device.invite", "args": {"count": 0}})"), "invalid");
  EXPECT_EQ(code(R"({"op": "job.show", "args": {"job": "nobody"}})"), "not-found");
  EXPECT_EQ(code(R"({"op": "job.export", "args": {"job": "nobody", "folder": "relative"}})"), "invalid");
  EXPECT_EQ(code(Json{{"op", "job.submit"}, {"args", {{"spec", "nonsense"}, {"model", model}}}}.dump()), "invalid");
  EXPECT_EQ(
      code(Json{{"op", "job.submit"}, {"args", {{"spec", "two rounds"}, {"model", folder.file("absent")}}}}.dump()),
      "not-found");
}

TEST_F(AdminTest, RefusesAModelThatIsNotFinite) {
  const TensorLayout layout = TensorLayout::make({{"w", {2}, "backbone"}}).value();
  const std::string path = folder.file("nan.safetensors");
  ASSERT_TRUE(protocol::write_model(path, layout, std::vector<float>{1.0f, std::nanf("")}, {}).ok());
  EXPECT_EQ(code(Json{{"op", "job.submit"}, {"args", {{"spec", "two rounds"}, {"model", path}}}}.dump()), "invalid");
  EXPECT_TRUE(call("job.list")["jobs"].empty());
}

}  // namespace
}  // namespace shoal::coordinator
