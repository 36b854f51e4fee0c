// `shoal job ...`: submitting federated jobs to a coordinator, and watching them to their end.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>

#include "base/units.h"
#include "cli/admin_client.h"
#include "cli/commands.h"
#include "cli/config.h"
#include "cli/job_file.h"
#include "cli/progress_bar.h"
#include "cli/table.h"
#include "client/training/engine/planner.h"
#include "protocol/safetensors_file.h"
#include "protocol/sha256.h"
#include "simulator/report.h"

namespace shoal::cli {
namespace {

using Json = nlohmann::json;

constexpr Duration kLongWork = std::chrono::minutes(30);  // copying and sealing a model of gigabytes
constexpr std::uint64_t kFollowMs = 20000;  // one question of follow; the coordinator answers earlier with news

Result<AdminClient> coordinator(const Context& context) {
  return AdminClient::connect(context.socket.empty() ? default_admin_socket() : context.socket);
}

std::uint64_t number(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_number() ? found->get<std::uint64_t>() : 0;
}

std::optional<double> fraction(const Json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_number()) return std::nullopt;
  return found->get<double>();
}

std::string percent(const Json& object, const char* name) {
  const auto value = fraction(object, name);
  char text[16] = "-";
  if (value) std::snprintf(text, sizeof text, "%.2f %%", 100 * *value);
  return text;
}

std::string title(const Json& job) {
  return "job " + std::to_string(number(job, "id")) + " (" + job.value("name", "") + ")";
}

std::string painted_status(const Json& job, const Terminal& terminal) {
  const auto status = job.value("status", "?");
  const Color color = status == "completed" ? Color::kGreen : status == "running" ? Color::kCyan : Color::kRed;
  return paint(status, color, terminal);
}

std::string progress_text(const Json& job) {
  return std::to_string(number(job, "version")) + "/" + std::to_string(number(job, "rounds"));
}

std::string devices_text(const Json& job) {
  std::string text = std::to_string(number(job, "outstanding")) + " at work";
  if (number(job, "devices_wanted") > 0)
    text += ", waiting for " + std::to_string(number(job, "devices_wanted")) + " devices, " +
            std::to_string(number(job, "devices_idle")) + " idle";
  return text;
}

void print_plans(const Context& context, const Json& job) {
  Table table({{"PLAN"}, {"NEEDS", Align::kRight}, {"DEVICES", Align::kRight}});
  for (const Json& row : job["plans"])
    table.add({row.value("plan", ""), number(row, "memory") == 0 ? "-" : human_bytes(number(row, "memory")),
               std::to_string(number(row, "devices"))});
  table.add({"left out", "", std::to_string(number(job, "devices_left_out"))});
  print_text("\n" + table.render(context.terminal));
}

void print_job(const Context& context, const Json& job) {
  if (context.json) return print_json(job);
  print_text(render_facts({{"job", std::to_string(number(job, "id"))},
                           {"name", job.value("name", "")},
                           {"status", painted_status(job, context.terminal)},
                           {"reason", job.value("reason", "").empty() ? "-" : job.value("reason", "")},
                           {"policy", job.value("policy", "")},
                           {"round", progress_text(job)},
                           {"accuracy", percent(job, "accuracy")},
                           {"updates", std::to_string(number(job, "updates")) + " folded, " +
                                           std::to_string(number(job, "pending")) + " waiting"},
                           {"devices", devices_text(job)}},
                          context.terminal));
  if (job.contains("plans") && job["plans"].size() + number(job, "devices_left_out") > 1) print_plans(context, job);
  if (job.contains("config")) print_text("\n" + job["config"].get<std::string>());
}

// A finished job's own outcome, as the command's.
Status outcome(const Json& job) {
  const auto status = job.value("status", "");
  if (status == "completed") return {};
  return Error(ErrorCode::kFailed,
               title(job) + " " + status + (job.value("reason", "").empty() ? "" : ": " + job.value("reason", "")));
}

// ---- follow and wait ----

enum class Show { kProgress, kNothing };

// Asks for news until the job ends, and returns its last state. kTimeout after `timeout` (zero: never).
Result<Json> until_end(const Context& context, const std::string& job, Duration timeout, Show show) {
  SHOAL_TRY_ASSIGN(AdminClient client, coordinator(context));
  const auto begin = std::chrono::steady_clock::now();
  ProgressBar bar(stdout, context.terminal);
  std::uint64_t after = 0;
  std::string accuracy;
  for (;;) {
    std::uint64_t wait_ms = kFollowMs;
    if (timeout > Duration::zero()) {
      const auto left = timeout - (std::chrono::steady_clock::now() - begin);
      if (left <= Duration::zero())
        return Error(ErrorCode::kTimeout, "job " + job + " has not ended after " + human_duration(timeout));
      wait_ms =
          std::clamp<std::uint64_t>(static_cast<std::uint64_t>(left / std::chrono::milliseconds(1)), 1, kFollowMs);
    }
    SHOAL_TRY_ASSIGN(const Json news,
                     client.call("job.follow", {{"job", job}, {"after", after}, {"wait_ms", wait_ms}}));
    for (const Json& row : news.at("rows")) {
      after = std::max(after, number(row, "version"));
      if (show == Show::kNothing) continue;
      if (context.json) {
        print_text(row.dump() + "\n");
        continue;
      }
      if (fraction(row, "accuracy")) accuracy = "  accuracy " + percent(row, "accuracy");
      std::string facts = "round " + std::to_string(number(row, "version")) + "/" +
                          std::to_string(number(news.at("job"), "rounds")) + accuracy + "  received " +
                          std::to_string(number(row, "received"));
      if (number(row, "refused") > 0) facts += ", " + std::to_string(number(row, "refused")) + " refused";
      facts += "  up " + human_bytes(number(row, "bytes_up")) + "  down " + human_bytes(number(row, "bytes_down"));
      bar.show(static_cast<double>(number(row, "version")), static_cast<double>(number(news.at("job"), "rounds")),
               facts);
    }
    if (news.at("job").value("status", "") != "running") return news.at("job");
  }
}

Status follow(const Context& context, const std::string& job, Duration timeout, Show show) {
  SHOAL_TRY_ASSIGN(const Json last, until_end(context, job, timeout, show));
  if (context.json) {
    print_text(last.dump() + "\n");
  } else if (last.value("status", "") == "completed") {
    print_text(title(last) + " " + painted_status(last, context.terminal) + " after " +
               std::to_string(number(last, "version")) + " rounds, accuracy " + percent(last, "accuracy") + "\n");
  }
  return outcome(last);
}

// ---- submit ----

struct SubmitOptions {
  std::string file, token;
  std::vector<std::string> settings;
  bool follow = false;
};

// Submitting the same content again finds the job that it already is.
Result<std::string> token_of(const std::string& spec, const std::string& model) {
  std::ifstream in(model, std::ios::binary);
  if (!in)
    return Error(ErrorCode::kInvalid, "cannot read the initial model " + model +
                                          "; make it with: shoal model init --arch 2nn --input 1x28x28 --classes 10 " +
                                          model);
  protocol::Sha256 hash;
  hash.update(std::as_bytes(std::span(spec)));
  std::vector<char> buffer(std::size_t{1} << 20);
  while (in.read(buffer.data(), static_cast<std::streamsize>(buffer.size())) || in.gcount() > 0)
    hash.update(std::as_bytes(std::span(buffer.data(), static_cast<std::size_t>(in.gcount()))));
  return hash.finish().hex();
}

// So that no device is asked for more than it can do. A model of unknown make is anybody's.
Status state_memory(const std::string& model, protocol::TrainingSpec& training) {
  SHOAL_TRY_ASSIGN(const protocol::SafetensorsFile file, protocol::SafetensorsFile::open(model));
  const auto& metadata = file.header().metadata;
  const auto text = metadata.find(std::string(client::training::kModelMetadataKey));
  if (text == metadata.end()) return {};
  SHOAL_TRY_ASSIGN(const auto description, client::training::parse_description(text->second));
  SHOAL_TRY_ASSIGN(const auto plans, protocol::parse_plan_table(training.plan));
  SHOAL_TRY_ASSIGN(const auto table, client::training::engine::with_memory(plans, description, training));
  training.plan = protocol::to_text(table);
  return {};
}

Status submit(const Context& context, const SubmitOptions& options) {
  JobFile job;
  SHOAL_TRY(load_file(options.file, job));
  for (const std::string& setting : options.settings) SHOAL_TRY(set(job, setting));
  if (const Status consistent = coordinator::check(job.spec); !consistent.ok())
    return Error(consistent.error()).because_of_this(options.file);
  const auto model =
      std::filesystem::absolute(std::filesystem::path(options.file).parent_path() / job.model).lexically_normal();
  std::string token = options.token;
  if (token.empty()) {
    SHOAL_TRY_ASSIGN(token, token_of(print(job.spec), model.string()));
  }
  SHOAL_TRY(state_memory(model.string(), job.spec.training));
  SHOAL_TRY_ASSIGN(AdminClient client, coordinator(context));
  SHOAL_TRY_ASSIGN(
      const Json submitted,
      client.call("job.submit", {{"spec", print(job.spec)}, {"model", model.string()}, {"token", token}}, kLongWork));
  const std::string id = std::to_string(number(submitted, "id"));
  if (context.json) {
    print_json(submitted);
  } else if (submitted.value("submitted", true)) {
    print_text(title(submitted) + " submitted: " + submitted.value("policy", "") + ", " +
               std::to_string(number(submitted, "rounds")) + " rounds\n");
    if (!options.follow) print_text("watch it with: shoal job follow " + id + "\n");
  } else {
    print_text(title(submitted) + " was submitted before and is " + submitted.value("status", "") +
               "; --token NEW-WORD runs the same job again\n");
  }
  if (!options.follow) return {};
  return follow(context, id, Duration::zero(), Show::kProgress);
}

// ---- the others ----

Status list(const Context& context) {
  SHOAL_TRY_ASSIGN(AdminClient client, coordinator(context));
  SHOAL_TRY_ASSIGN(const Json data, client.call("job.list"));
  if (context.json) return print_json(data), Status{};
  Table table({{"JOB", Align::kRight},
               {"NAME"},
               {"STATUS"},
               {"POLICY"},
               {"ROUND", Align::kRight},
               {"UPDATES", Align::kRight},
               {"AT WORK", Align::kRight},
               {"ACCURACY", Align::kRight}});
  for (const Json& job : data.at("jobs"))
    table.add({std::to_string(number(job, "id")), job.value("name", ""), painted_status(job, context.terminal),
               job.value("policy", ""), progress_text(job), std::to_string(number(job, "updates")),
               std::to_string(number(job, "outstanding")), percent(job, "accuracy")});
  print_text(table.empty() ? "no jobs yet; submit one with: shoal job submit FILE\n" : table.render(context.terminal));
  return {};
}

Status one(const Context& context, const std::string& op, const std::string& job) {
  SHOAL_TRY_ASSIGN(AdminClient client, coordinator(context));
  SHOAL_TRY_ASSIGN(const Json data, client.call(op, {{"job", job}}));
  print_job(context, data);
  return {};
}

Status export_job(const Context& context, const std::string& job, const std::string& folder) {
  const std::string absolute = std::filesystem::absolute(folder).lexically_normal().string();
  SHOAL_TRY_ASSIGN(AdminClient client, coordinator(context));
  SHOAL_TRY_ASSIGN(const Json data, client.call("job.export", {{"job", job}, {"folder", absolute}}, kLongWork));
  const std::string page = absolute + "/report.html";
  SHOAL_TRY(simulator::write_report({absolute}, page));
  if (context.json) return print_json(data), Status{};
  print_text("wrote config.toml, metrics.jsonl, model.safetensors and report.html to " + folder + "\n");
  return {};
}

}  // namespace

void add_job_commands(CLI::App& app, Context& context) {
  CLI::App& group = *app.add_subcommand("job", "Submit federated jobs and watch them");
  group.require_subcommand(1);
  const auto finish = [&](CLI::App& command) {
    add_json_flag(command, context);
    add_socket_option(command, context);
  };

  auto submission = std::make_shared<SubmitOptions>();
  CLI::App& submitting =
      add_command(group, context, "submit", "Submit a job; the same content again finds the same job",
                  "shoal job submit job.toml --set rounds=50 --follow",
                  [&context, submission] { return submit(context, *submission); });
  submitting.add_option("FILE", submission->file, "TOML file, see configs/job.toml")->required();
  submitting
      .add_option("--set", submission->settings, "Override one option, as in --set fedavg.cohort=5; may be repeated")
      ->allow_extra_args(false);
  submitting.add_option("--token", submission->token, "Name of this submission; by default its content");
  submitting.add_flag("--follow", submission->follow, "Then do as `shoal job follow`");
  finish(submitting);

  CLI::App& listing =
      add_command(group, context, "list", "All jobs", "shoal job list", [&context] { return list(context); });
  finish(listing);

  struct Verb {
    const char *name, *about;
  };
  for (const Verb& verb :
       {Verb{"show", "One job with its configuration"}, Verb{"stop", "End a job after the fold it is at"}}) {
    const std::string name = verb.name;
    auto job = std::make_shared<std::string>();
    CLI::App& command = add_command(group, context, name, verb.about, "shoal job " + name + " 3",
                                    [&context, job, name] { return one(context, "job." + name, *job); });
    command.add_option("JOB", *job, "The job's number or name in `shoal job list`")->required();
    finish(command);
  }

  struct Watch {
    const char *name, *about;
    Show show;
  };
  for (const Watch& watch :
       {Watch{"follow", "Show a job's rounds until it ends; exits as the job ended", Show::kProgress},
        Watch{"wait", "Wait silently until a job ends; exits as the job ended", Show::kNothing}}) {
    auto job = std::make_shared<std::string>();
    auto timeout = std::make_shared<std::string>("0");
    const std::string name = watch.name;
    CLI::App& command = add_command(group, context, name, watch.about, "shoal job " + name + " 3 --timeout 1h",
                                    [&context, job, timeout, show = watch.show]() -> Status {
                                      SHOAL_TRY_ASSIGN(const Duration limit, parse_duration(*timeout));
                                      return follow(context, *job, limit, show);
                                    });
    command.add_option("JOB", *job, "The job's number or name in `shoal job list`")->required();
    command.add_option("--timeout", *timeout, "Give up after this time (exit code 4); 0 is never");
    finish(command);
  }

  auto exported = std::make_shared<std::pair<std::string, std::string>>();
  CLI::App& exporting =
      add_command(group, context, "export", "Write a job's configuration, rounds, model and report to a folder",
                  "shoal job export 3 runs/job-3",
                  [&context, exported] { return export_job(context, exported->first, exported->second); });
  exporting.add_option("JOB", exported->first, "The job's number or name in `shoal job list`")->required();
  exporting.add_option("FOLDER", exported->second, "Made if needed; the coordinator must be able to write there")
      ->required();
  finish(exporting);
}

}  // namespace shoal::cli
