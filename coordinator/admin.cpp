#include "coordinator/admin.h"

#include <chrono>
#include <filesystem>
#include <fstream>
#include <future>
#include <nlohmann/json.hpp>

#include "coordinator/model_import.h"
#include "protocol/invitation.h"
#include "protocol/keys.h"

namespace shoal::coordinator {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kMaxInvitations = 10000;
constexpr std::int64_t kMaxWaitMs = 30000;

std::string code_name(ErrorCode code) {
  switch (code) {
    case ErrorCode::kFailed: return "failed";
    case ErrorCode::kCorrupt: return "corrupt";
    case ErrorCode::kExhausted: return "exhausted";
    case ErrorCode::kInvalid: return "invalid";
    case ErrorCode::kUnavailable: return "unavailable";
    case ErrorCode::kDenied: return "denied";
    case ErrorCode::kTimeout: return "timeout";
    case ErrorCode::kNotFound: return "not-found";
  }
  return "failed";
}

std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

// Arguments of a request, with what is missing or of the wrong type as an error.
class Args {
 public:
  explicit Args(const Json& json) : json_(json) {}

  Result<std::uint64_t> number(const char* name, std::optional<std::uint64_t> fallback = std::nullopt) const {
    const auto found = json_.find(name);
    if (found == json_.end() && fallback) return *fallback;
    if (found != json_.end() && found->is_number_unsigned()) return found->get<std::uint64_t>();
    return Error(ErrorCode::kInvalid, std::string("the request needs a whole number \"") + name + "\"");
  }
  Result<std::string> text(const char* name, std::optional<std::string> fallback = std::nullopt) const {
    const auto found = json_.find(name);
    if (found == json_.end() && fallback) return *fallback;
    if (found != json_.end() && found->is_string()) return found->get<std::string>();
    return Error(ErrorCode::kInvalid, std::string("the request needs a text \"") + name + "\"");
  }
  // A job by id or by name (the newest of that name).
  Result<JobSummary> job(const Service& service) const {
    const auto found = json_.find("job");
    if (found != json_.end() && found->is_number_unsigned())
      if (const auto job = service.machine().job(JobId{found->get<std::uint64_t>()})) return *job;
    if (found != json_.end() && found->is_string()) {
      const std::vector<JobSummary> jobs = service.machine().jobs();
      for (auto it = jobs.rbegin(); it != jobs.rend(); ++it)
        if (it->spec.name == found->get<std::string>() || std::to_string(it->job.value) == found->get<std::string>())
          return *it;
    }
    return Error(ErrorCode::kNotFound,
                 found == json_.end() ? "the request names no job" : "there is no job " + dump(*found));
  }

 private:
  const Json& json_;
};

Json device_json(Service& service, const DeviceRecord& record) {
  Json json;
  json["id"] = record.id.value;
  json["name"] = record.name;
  json["key"] = protocol::z85_encode(record.key);
  json["standing"] = name_of(record.standing);
  const Session* session = service.sessions().find(record.id);
  const bool online = session != nullptr && !session->peer.route.empty();
  json["online"] = online;
  json["enrolled_at"] = record.enrolled_at;
  json["train_samples"] = online ? session->facts.train_samples : 0;
  json["memory_budget"] = online ? session->facts.memory_budget : 0;
  const protocol::Traffic traffic = service.traffic_of(record.id);
  json["bytes_up"] = traffic.up;
  json["bytes_down"] = traffic.down;
  const auto work = service.machine().assignment_of(record.id, Time{});
  json["assignment"] = work ? work->id.value : 0;
  json["last_refusal"] = nullptr;
  if (record.last_refusal != protocol::Refusal::kNone)
    json["last_refusal"] = {{"reason", text_of(record.last_refusal).name},
                            {"detail", record.last_refusal_detail},
                            {"at", record.last_refusal_at}};
  return json;
}

std::string_view status_name(JobStatus status) {
  switch (status) {
    case JobStatus::kRunning: return "running";
    case JobStatus::kCompleted: return "completed";
    case JobStatus::kStopped: return "stopped";
    case JobStatus::kFailed: return "failed";
  }
  return "failed";
}

Json job_json(Service& service, const JobSummary& job) {
  Json json;
  json["id"] = job.job.value;
  json["name"] = job.spec.name;
  json["status"] = status_name(job.status);
  json["reason"] = job.reason;
  json["policy"] = name_of(job.spec.policy);
  json["version"] = job.version;
  json["rounds"] = job.spec.rounds;
  json["updates"] = job.updates;
  json["outstanding"] = job.outstanding;
  json["pending"] = job.pending;
  json["folding"] = job.folding;
  json["devices_wanted"] = job.devices_wanted;
  json["devices_idle"] = job.devices_idle;
  json["plans"] = Json::array();
  for (const auto& [row, devices] : service.machine().plan_devices(job.job)) {
    if (row.plan.empty()) {
      json["devices_left_out"] = devices;
    } else {
      json["plans"].push_back({{"plan", row.plan}, {"memory", row.memory.count}, {"devices", devices}});
    }
  }
  for (const HistoryRow& row : service.history().rows(job.job)) {
    json["seconds"] = row.seconds;
    if (row.accuracy) json["accuracy"] = *row.accuracy;
    if (row.loss) json["loss"] = *row.loss;
  }
  return json;
}

// Waits for the answer to a posted call. It is given, or dropped with the call when the service ends.
template <class T>
Result<T> answer_of(std::future<Result<T>> answer) {
  try {
    return answer.get();
  } catch (const std::future_error&) {
    return Error(ErrorCode::kUnavailable, "the coordinator is stopping; ask again when it is back");
  }
}

// Runs `call` on the owner thread and waits for its result, so that it may refer to what the caller holds.
template <class T>
Result<T> on_owner(Service& service, std::function<Result<T>(Service&)> call) {
  auto promise = std::make_shared<std::promise<Result<T>>>();
  std::future<Result<T>> answer = promise->get_future();
  service.post([promise = std::move(promise), &call](Service& s) { promise->set_value(call(s)); });
  return answer_of(std::move(answer));
}

// ---- operations, on the owner thread ----

Result<Json> status(Service& s, const AdminTools& tools) {
  Json json;
  json["name"] = s.options().name;
  json["version"] = tools.version;
  json["build"] = tools.build;
  const ServiceState state = s.state();
  json["devices_online"] = state.devices_online;
  json["devices"] = s.registry().size();
  json["open_invitations"] = s.registry().open_invitations(s.unix_seconds());
  json["storage_full"] = state.storage_full;
  json["draining"] = state.draining;
  json["jobs"] = s.machine().jobs().size();
  return json;
}

Result<Json> invite(Service& s, const Args& args, const AdminTools& tools) {
  SHOAL_TRY_ASSIGN(const std::uint64_t count, args.number("count", 1));
  SHOAL_TRY_ASSIGN(const std::uint64_t valid, args.number("valid_seconds", 86400));
  if (count < 1 || count > kMaxInvitations)
    return Error(ErrorCode::kInvalid, "count must be from 1 to " + std::to_string(kMaxInvitations));
  if (valid < 1 || valid > std::uint64_t{3650} * 86400)
    return Error(ErrorCode::kInvalid, "an invitation is valid for 1 s to ten years");
  Json texts = Json::array();
  for (std::uint64_t i = 0; i < count; ++i) {
    protocol::Invitation invitation;
    invitation.coordinator = s.options().name;
    invitation.endpoint = s.control_endpoint();
    invitation.server_key = tools.server_key;
    SHOAL_TRY_ASSIGN(invitation.key, protocol::make_key_pair());
    invitation.expires = s.unix_seconds() + static_cast<std::int64_t>(valid);
    SHOAL_TRY(s.registry().invite(invitation.key.public_key, invitation.expires));
    texts.push_back(protocol::format_invitation(invitation));
  }
  return Json{{"invitations", std::move(texts)}};
}

Result<Json> device(Service& s, const std::string& op, const Args& args) {
  if (op == "device.list") {
    Json devices = Json::array();
    for (const DeviceRecord& record : s.registry().devices()) devices.push_back(device_json(s, record));
    return Json{{"devices", std::move(devices)}};
  }
  SHOAL_TRY_ASSIGN(const std::uint64_t id, args.number("id"));
  if (s.registry().find(DeviceId{id}) == nullptr)
    return Error(ErrorCode::kNotFound, "there is no device " + std::to_string(id));
  if (op == "device.approve") SHOAL_TRY(s.approve(DeviceId{id}));
  if (op == "device.revoke") SHOAL_TRY(s.revoke(DeviceId{id}));
  return device_json(s, *s.registry().find(DeviceId{id}));
}

Result<Json> job(Service& s, const std::string& op, const Args& args, const AdminTools& tools) {
  if (op == "job.list") {
    Json jobs = Json::array();
    for (const JobSummary& summary : s.machine().jobs()) jobs.push_back(job_json(s, summary));
    return Json{{"jobs", std::move(jobs)}};
  }
  SHOAL_TRY_ASSIGN(const JobSummary summary, args.job(s));
  if (op == "job.stop") SHOAL_TRY(s.stop_job(summary.job));
  Json json = job_json(s, *s.machine().job(summary.job));
  if (op == "job.show") json["config"] = tools.print_spec(summary.spec);
  return json;
}

// ---- operations that take their time, on the caller's thread ----

Result<Json> follow(Service& service, const Json& args_json) {
  const Args args(args_json);
  SHOAL_TRY_ASSIGN(const std::uint64_t after, args.number("after", 0));
  SHOAL_TRY_ASSIGN(const std::uint64_t wait_ms, args.number("wait_ms", 0));
  const auto limit = std::chrono::steady_clock::now() + std::chrono::milliseconds(std::min<std::uint64_t>(
                                                            wait_ms, static_cast<std::uint64_t>(kMaxWaitMs)));
  for (std::uint64_t seen = 0;;) {
    bool done = false;
    auto answer = on_owner<Json>(service, [&args, &done, after](Service& s) -> Result<Json> {
      SHOAL_TRY_ASSIGN(const JobSummary summary, args.job(s));
      Json rows = Json::array();
      // Rows are told once, in order. A new one waits for its evaluation, but no longer than until two rounds later.
      for (const HistoryRow& row : s.history().rows(summary.job, after)) {
        if (summary.evaluations.contains(row.version) && row.version + 1 >= summary.version) break;
        rows.push_back(Json::parse(row.to_json()));
      }
      done = !rows.empty() || summary.status != JobStatus::kRunning;
      return Json{{"job", job_json(s, summary)}, {"rows", std::move(rows)}};
    });
    const auto left = limit - std::chrono::steady_clock::now();
    if (!answer.ok() || done || left <= Duration::zero()) return answer;
    seen = service.wait_for_news(seen, left);
  }
}

Result<Json> submit(Service& service, const Json& args_json, const AdminTools& tools) {
  const Args args(args_json);
  SHOAL_TRY_ASSIGN(const std::string toml, args.text("spec"));
  SHOAL_TRY_ASSIGN(const std::string path, args.text("model"));
  SHOAL_TRY_ASSIGN(const std::string token, args.text("token", ""));
  SHOAL_TRY_ASSIGN(const JobSpec spec, tools.parse_spec(toml));
  SHOAL_TRY(check(spec));

  // The same token again is the same submission: its job is the answer, whatever became of the first answer.
  const auto answer_for = [](Service& s, JobId job, bool fresh) {
    Json json = job_json(s, *s.machine().job(job));
    json["submitted"] = fresh;
    return json;
  };
  auto known = on_owner<Json>(service, [&](Service& s) -> Result<Json> {
    SHOAL_TRY_ASSIGN(const auto job, s.submission(token));
    return job ? answer_for(s, *job, false) : Json();
  });
  if (!known.ok() || !known->is_null()) return known;
  SHOAL_TRY_ASSIGN(const JobId id,
                   on_owner<JobId>(service, [](Service& s) -> Result<JobId> { return s.next_job_id(); }));
  SHOAL_TRY_ASSIGN(const ModelRef model, import_model(path, id, spec.training.plan, spec.optimizer, tools.models));

  auto promise = std::make_shared<std::promise<Result<Json>>>();
  std::future<Result<Json>> answer = promise->get_future();
  service.post([=, promise = std::move(promise), models = &tools.models](Service& s) {
    Status submitted =
        s.submit(id, spec, model, token, [=, &s](JobId job) { promise->set_value(answer_for(s, job, job == id)); });
    if (submitted.ok()) return;
    (void)models->discard(model);  // what is left goes at the next start
    promise->set_value(std::move(submitted).error());
  });
  return answer_of(std::move(answer));
}

Result<Json> export_job(Service& service, const Json& args_json, const AdminTools& tools) {
  const Args args(args_json);
  SHOAL_TRY_ASSIGN(const std::string folder, args.text("folder"));
  if (!std::filesystem::path(folder).is_absolute())
    return Error(ErrorCode::kInvalid, "folder must be an absolute path");
  struct Export {
    Json job;
    std::string config, metrics;
    ModelRef model;
  };
  SHOAL_TRY_ASSIGN(
      const Export found, on_owner<Export>(service, [&](Service& s) -> Result<Export> {
        SHOAL_TRY_ASSIGN(const JobSummary summary, args.job(s));
        Export e{
            job_json(s, summary), tools.print_spec(summary.spec), {}, s.models().at({summary.job, summary.version})};
        for (const HistoryRow& row : s.history().rows(summary.job)) e.metrics += row.to_json() + "\n";
        return e;
      }));
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return Error(ErrorCode::kInvalid, "cannot make the folder " + folder + ": " + error.message());
  const auto write = [&](const char* name, const std::string& content) -> Status {
    std::ofstream out(folder + "/" + name, std::ios::binary | std::ios::trunc);
    out << content;
    if (!out.flush()) return Error(ErrorCode::kExhausted, "cannot write " + folder + "/" + name);
    return {};
  };
  SHOAL_TRY(write("config.toml", found.config));
  SHOAL_TRY(write("metrics.jsonl", found.metrics));
  SHOAL_TRY(export_model(found.model, tools.models, folder + "/model.safetensors"));
  Json json = found.job;
  json["folder"] = folder;
  return json;
}

Result<Json> dispatch(Service& service, const AdminTools& tools, const std::string& op, const Json& args_json) {
  if (op == "job.submit") return submit(service, args_json, tools);
  if (op == "job.follow") return follow(service, args_json);
  if (op == "job.export") return export_job(service, args_json, tools);
  return on_owner<Json>(service, [&tools, op, args_json](Service& s) -> Result<Json> {
    const Args args(args_json);
    if (op == "status") return status(s, tools);
    if (op == "device.invite") return invite(s, args, tools);
    if (op == "device.list" || op == "device.show" || op == "device.approve" || op == "device.revoke")
      return device(s, op, args);
    if (op == "job.list" || op == "job.show" || op == "job.stop") return job(s, op, args, tools);
    return Error(ErrorCode::kInvalid,
                 "there is no operation \"" + op + "\"; is the command newer than the coordinator?");
  });
}

}  // namespace

Admin::Admin(Service& service, AdminTools tools) : service_(service), tools_(std::move(tools)) {}

std::string Admin::answer(const std::string& request) {
  const Json json = Json::parse(request, nullptr, false);
  Result<Json> result = Error(ErrorCode::kInvalid, "the request is not a JSON object with \"op\" and \"args\"");
  if (json.is_object() && json.contains("op") && json["op"].is_string()) {
    const Json args = json.contains("args") ? json["args"] : Json::object();
    if (args.is_object()) result = dispatch(service_, tools_, json["op"].get<std::string>(), args);
  }
  if (!result.ok())
    return dump(Json{{"ok", false}, {"code", code_name(result.error().code())}, {"error", result.error().to_string()}});
  return dump(Json{{"ok", true}, {"data", std::move(*result)}});
}

}  // namespace shoal::coordinator
