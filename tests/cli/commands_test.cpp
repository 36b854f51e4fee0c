// The real `shoal` program: what it prints and how it exits.
#include "cli/commands.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include "protocol/plan_table.h"
#include "protocol/safetensors_file.h"
#include "tests/support/temporary_folder.h"

namespace shoal::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

struct Ended {
  int code = -1;
  std::string text;  // both streams
};

// Runs `shoal ARGUMENTS` in a shell, without a coordinator to talk to.
Ended shoal(const std::string& arguments) {
  const std::string command = "SHOAL_SOCKET=/nonexistent/socket " SHOAL_BINARY_DIR "/bin/shoal " + arguments + " 2>&1";
  std::FILE* pipe = ::popen(command.c_str(), "r");
  Ended ended;
  std::array<char, 4096> buffer;
  while (const std::size_t n = std::fread(buffer.data(), 1, buffer.size(), pipe)) ended.text.append(buffer.data(), n);
  ended.code = WEXITSTATUS(::pclose(pipe));
  return ended;
}

TEST(Shoal, EveryCommandHasHelpWithAnExample) {
  for (const char* command : {"",
                              "status",
                              "report",
                              "model init",
                              "model inspect",
                              "model export",
                              "model profile",
                              "data inspect",
                              "device invite",
                              "device list",
                              "device show",
                              "device approve",
                              "device revoke",
                              "job submit",
                              "job list",
                              "job show",
                              "job wait",
                              "job follow",
                              "job stop",
                              "job export"}) {
    const Ended help = shoal(std::string(command) + " --help");
    EXPECT_EQ(help.code, 0) << command;
    EXPECT_THAT(help.text, HasSubstr("Example:\n  shoal ")) << command;
  }
}

TEST(Shoal, UsageErrorsAreTwoAndOneLine) {
  for (const char* arguments :
       {"", "jbo", "job", "job submit", "model init --arch 2nn --input 1x28x28 --classes none m", "device show x"}) {
    const Ended ended = shoal(arguments);
    EXPECT_EQ(ended.code, 2) << arguments;
    EXPECT_THAT(ended.text, HasSubstr("shoal: error: ")) << arguments;
    EXPECT_EQ(std::count(ended.text.begin(), ended.text.end(), '\n'), 1) << ended.text;
  }
  EXPECT_THAT(shoal("jbo").text, HasSubstr("there is no command \"jbo\""));
}

TEST(Shoal, WithoutACoordinatorAdministrationIsThree) {
  for (const char* arguments : {"status", "device list", "job list", "job wait 1"}) {
    const Ended ended = shoal(arguments);
    EXPECT_EQ(ended.code, 3) << arguments;
    EXPECT_THAT(ended.text, HasSubstr("start shoal-coordinator")) << arguments;
  }
}

TEST(Shoal, ProfilesTheMemoryOfAStepBeforeTheFirstOne) {
  const std::string command =
      "model profile --arch mobilenetv2-0.35-lite --input 3x32x32 --classes 10 --plan lite+bias --batch 8 --adam";
  const Ended shown = shoal(command);
  EXPECT_EQ(shown.code, 0) << shown.text;
  EXPECT_THAT(shown.text, HasSubstr("the peak of every step"));
  EXPECT_THAT(shown.text, HasSubstr("8 examples at a time"));
  const auto free = nlohmann::json::parse(shoal(command + " --json").text);
  const auto tight = nlohmann::json::parse(shoal(command + " --json --budget 10MB").text);
  EXPECT_GT(free["arena_bytes"], 10'000'000);
  EXPECT_LE(tight["arena_bytes"], 10'000'000);
  EXPECT_LE(tight["live_bytes"], tight["arena_bytes"]);
  const auto live = free["live"].get<std::vector<std::size_t>>();
  EXPECT_EQ(*std::ranges::max_element(live), free["live_bytes"]);
  EXPECT_EQ(shoal(command + " --budget 100kB").code, 2) << "nothing fits";
  EXPECT_EQ(shoal("model profile --arch cnn --input 1x28x28 --classes 10 --plan lite").code, 2) << "no such branches";
  EXPECT_EQ(shoal("model profile --arch cnn").code, 2);
}

TEST(Shoal, PlansWhatDevicesOfABudgetCanTrain) {
  const std::string command = "model plan --arch mobilenetv2-0.35-lite --input 3x32x32 --classes 10 --batch 8";
  const Ended shown = shoal(command + " --budget 4MB");
  EXPECT_EQ(shown.code, 0) << shown.text;
  EXPECT_THAT(shown.text, HasSubstr("does not fit: needs "));
  EXPECT_THAT(shown.text, HasSubstr("Best: lite+bias."));
  const auto json = nlohmann::json::parse(shoal(command + " --budget 4MB --json").text);
  EXPECT_EQ(json["best"], "lite+bias");
  for (const auto& row : json["candidates"]) {
    EXPECT_EQ(row["upload_bytes"], 4 * row["trained"].get<std::uint64_t>());
    EXPECT_EQ(row["fits"], row["least_bytes"] <= 4'000'000);
    if (row["fits"]) EXPECT_LE(row["arena_bytes"], 4'000'000);
  }
  // What it says for a job is a plan table in which each row needs less than the one before.
  const auto table = protocol::parse_plan_table(json["plan"].get<std::string>()).value();
  for (std::size_t i = 1; i < table.size(); ++i) EXPECT_LT(table[i].memory, table[i - 1].memory);
  const auto late = nlohmann::json::parse(shoal(command + " --examples 1000 --deadline 1ms --json").text);
  EXPECT_EQ(late["best"], nullptr);
  for (const auto& row : late["candidates"]) EXPECT_FALSE(row["in_time"]);
  EXPECT_EQ(shoal(command + " --deadline 1s").code, 2) << "a round of how many steps?";
  EXPECT_EQ(shoal(command + " --budget much").code, 2);
  const auto mobile = nlohmann::json::parse(shoal("model plan --arch mobilenetv2-0.35 --batch 1 --json").text);
  EXPECT_EQ(mobile["candidates"].size(), 4u) << "without an input: as it was published";
}

TEST(Shoal, MakesInspectsAndExportsModels) {
  const shoal::testing::TemporaryFolder folder;
  const std::string model = folder.file("m.safetensors"), plain = folder.file("plain.safetensors");
  EXPECT_EQ(shoal("model init --arch 2nn --input 1x28x28 --classes 10 --seed 3 " + model).code, 0);
  const Ended inspected = shoal("model inspect " + model + " --json");
  const auto json = nlohmann::json::parse(inspected.text);
  EXPECT_EQ(json["parameters"], 199210);
  EXPECT_EQ(json["tensors"][0]["name"], "fc1.weight");
  EXPECT_EQ(json["tensors"][0]["shape"], (nlohmann::json{200, 784}));
  const Ended table = shoal("model inspect " + model);
  EXPECT_THAT(table.text, HasSubstr("199,210"));
  EXPECT_THAT(table.text, Not(HasSubstr("\033["))) << "a pipe gets no colors";

  EXPECT_EQ(shoal("model export " + model + " " + plain).code, 0);
  const auto before = protocol::read_model(model).value(), after = protocol::read_model(plain).value();
  EXPECT_TRUE(std::equal(before.values.begin(), before.values.end(), after.values.begin(), after.values.end()));
  EXPECT_EQ(after.metadata.count("shoal.model"), 0u);
}

TEST(Shoal, TheSameSeedMakesTheSameFile) {
  const shoal::testing::TemporaryFolder folder;
  const auto make = [&](int seed) {
    const std::string path = folder.file("m");
    EXPECT_EQ(
        shoal("model init --arch logistic --input 30 --classes 2 --seed " + std::to_string(seed) + " " + path).code, 0);
    const auto made = protocol::read_model(path).value();
    return std::vector<float>(made.values.begin(), made.values.end());
  };
  EXPECT_EQ(make(1), make(1));
  EXPECT_NE(make(1), make(2));
}

TEST(Shoal, ModelMistakesSayWhatIsThere) {
  const Ended unknown = shoal("model init --arch 3nn --input 1x28x28 --classes 10 /nonexistent/m");
  EXPECT_EQ(unknown.code, 5);
  EXPECT_THAT(unknown.text, HasSubstr("2nn"));
  EXPECT_EQ(shoal("model init --arch 2nn --input 1xx28 --classes 10 /nonexistent/m").code, 2);
  EXPECT_EQ(shoal("model inspect /nonexistent/m").code, 5);
}

TEST(Shoal, ReportsSayWhatTheyDrew) {
  const shoal::testing::TemporaryFolder folder;
  const std::string run = folder.file("run"), page = folder.file("page.html");
  std::filesystem::create_directory(run);
  std::ofstream(run + "/metrics.jsonl") << R"({"version":1,"virtual_seconds":2.5,"accuracy":0.25,"bytes_up":10})"
                                           "\n"
                                        << R"({"version":2,"virtual_seconds":5,"accuracy":0.5,"bytes_up":10})"
                                           "\n";
  std::ofstream(run + "/config.toml") << "[job]\nrounds = 2\n";
  const Ended ended = shoal("report " + run + " -o " + page + " --json");
  EXPECT_EQ(ended.code, 0) << ended.text;
  const auto json = nlohmann::json::parse(ended.text);
  EXPECT_EQ(json["file"], page);
  ASSERT_EQ(json["runs"].size(), 1u);
  EXPECT_EQ(json["runs"][0]["name"], "run");
  EXPECT_EQ(json["runs"][0]["rounds"], 2);
  EXPECT_EQ(json["runs"][0]["version"], 2);
  EXPECT_EQ(json["runs"][0]["accuracy"], 0.5);
  EXPECT_TRUE(std::filesystem::exists(page));
  EXPECT_THAT(shoal("report " + run + " -o " + page).text, HasSubstr("wrote " + page));
  EXPECT_EQ(shoal("report /nonexistent --json").code, 5);
}

TEST(Shoal, InspectsData) {
  const Ended text = shoal("data inspect procedural:1:3:20");
  EXPECT_EQ(text.code, 0);
  EXPECT_THAT(text.text, HasSubstr("3 natural"));
  const auto json = nlohmann::json::parse(shoal("data inspect procedural:1:3:20 --json").text);
  EXPECT_EQ(json["train_rows"], 60);
  EXPECT_EQ(json["shape"], (nlohmann::json{1, 28, 28}));
}

}  // namespace
}  // namespace shoal::cli
