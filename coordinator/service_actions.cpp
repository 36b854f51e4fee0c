// What the machine asks of the service, one function an action. Everything here is durable already.
#include <algorithm>
#include <cstdio>

#include "base/check.h"
#include "base/units.h"
#include "coordinator/service.h"
#include "protocol/safetensors.h"

namespace shoal::coordinator {
namespace {

using protocol::Refusal;
namespace message = protocol::message;

std::string text(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.4g", value);
  return buffer;
}

}  // namespace

void Service::carry_out(const action::Assign& a) {
  parts_.metrics.add("shoal_assignments_total", 1,
                     {"kind", a.assignment.kind == protocol::TaskKind::kTrain ? "train" : "evaluate"});
  if (Session* session = sessions_.find(a.device)) send_open_assignment(*session);
}

void Service::carry_out(const action::Answer& a) {
  damaged_.erase(a.assignment);
  const auto failed = failed_.extract(a.assignment);
  std::string said = failed ? std::move(failed.mapped()) : std::string();
  Session* session = sessions_.find(a.device);
  if (session != nullptr && session->holds == a.assignment) session->holds = {};
  if (a.refusal == Refusal::kNone) {
    parts_.metrics.add("shoal_receipts_total");
    if (session != nullptr) send(session->peer, message::Receipt{a.assignment});
  } else if (session != nullptr) {
    refuse(session->peer, a.refusal, a.assignment, std::move(said));
  } else {
    note_refusal(a.device, a.refusal, a.assignment, said);
  }
  if (session != nullptr) session->job = {};
}

void Service::carry_out(const action::Revoke& a) {
  damaged_.erase(a.assignment);
  if (const auto ticket = tickets_.find(a.assignment); ticket != tickets_.end()) {
    parts_.bulk.withdraw(ticket->second);
    tickets_.erase(ticket);
  }
  intake_.forget(a.assignment);
  const AssignmentId body[] = {a.assignment};
  if (const Status released = parts_.bodies.release(body); !released.ok())
    parts_.log.warn("a revoked upload could not be released: " + released.error().to_string());
  parts_.metrics.add("shoal_revocations_total", 1, {"reason", text_of(a.refusal).name});
  Session* session = sessions_.find(a.device);
  if (session == nullptr) return;
  if (session->holds == a.assignment) session->holds = {};
  send(session->peer, message::Revoke{a.assignment, a.refusal});
  session->job = {};
}

void Service::carry_out(const action::Fold& a) {
  const auto shape = shape_of(a.job);
  if (!shape.ok()) {
    durable_.step(event::FoldFailed{a.job, shape.error().to_string()}, now());
    return;
  }
  const auto job = machine().job(a.job);
  SHOAL_CHECK(job.has_value(), "a fold for an unknown job");
  FoldOptions options;
  options.floats = shape->floats;
  options.plans = shape->updates;
  options.scale = shape->scale;
  options.optimizer = job->spec.optimizer;
  options.workers = static_cast<int>(options_.fold_workers);
  folds_.start({a, options, models().at({a.job, a.version - 1})});
}

void Service::carry_out(const action::PassOver& a) {
  const std::string why = "job " + job_name(a.job) + " needs " + human_bytes(a.memory) + " for its smallest plan, " +
                          a.plan + "; raise this device's budget";
  note_refusal(a.device, protocol::Refusal::kBudgetTooSmall, {}, why);
  if (const Session* session = sessions_.find(a.device))
    send(session->peer, message::PassedOver{protocol::Refusal::kBudgetTooSmall, why});
}

void Service::carry_out(const action::JobEnded& a) {
  parts_.metrics.add("shoal_jobs_ended_total", 1,
                     {"status", a.status == JobStatus::kCompleted ? "completed" : "not-completed"});
  const std::string line = "job ended job=" + job_name(a.job) + ": " + a.reason;
  parts_.log.write(a.status == JobStatus::kFailed ? LogLevel::kError : LogLevel::kInfo, line);
  tell_news();
}

void Service::carry_out(const action::RoundOpened& a) {
  parts_.log.info("round " + std::to_string(a.base + 1) + " job=" + job_name(a.job) + ": sampled " +
                  std::to_string(a.sampled) + " of " + std::to_string(a.available) + " devices");
  parts_.metrics.add("shoal_rounds_opened_total", 1, {"job", job_name(a.job)});
}

void Service::carry_out(const action::RoundClosed& a) {
  std::uint32_t refused = 0;
  std::string reasons;
  for (const auto& [reason, count] : a.refused) {
    refused += count;
    reasons += (reasons.empty() ? " (" : ", ") + (a.refused.size() > 1 ? std::to_string(count) + " " : std::string()) +
               std::string(text_of(reason).name);
  }
  if (!reasons.empty()) reasons += ")";
  std::string line = "job=" + job_name(a.job) + ": received " + std::to_string(a.received) + " updates, " +
                     std::to_string(refused) + " refused" + reasons;
  if (a.failed > 0) line += ", " + std::to_string(a.failed) + " failed";
  if (a.version == 0) return parts_.log.warn("round abandoned " + line);
  count_traffic();
  HistoryRow row = new_row(a.job, a.version);
  const protocol::Traffic before = parts_.history.traffic(a.job);
  line += ", " + human_bytes(row.bytes_up - before.up) + " up, " + human_bytes(row.bytes_down - before.down) + " down";
  parts_.log.info("round " + std::to_string(a.version) + " " + line + " loss=" + text(a.mean_loss) +
                  " staleness=" + text(a.mean_staleness));
  row.received = a.received;
  row.refused = refused;
  row.failed = a.failed;
  row.train_loss = a.mean_loss;
  row.staleness = a.mean_staleness;
  parts_.history.put(a.job, row);
  tell_news();
  const std::string name = job_name(a.job);
  parts_.metrics.set("shoal_job_version", static_cast<double>(a.version), {"job", name});
  parts_.metrics.add("shoal_updates_folded_total", a.received, {"job", name});
  parts_.metrics.set("shoal_job_train_loss", a.mean_loss, {"job", name});
}

void Service::carry_out(const action::Evaluated& a) {
  HistoryRow row = parts_.history.row(a.job, a.version).value_or(new_row(a.job, a.version));
  row.evaluated = a.devices;
  if (a.facts.samples > 0) {
    const auto n = static_cast<double>(a.facts.samples);
    row.accuracy = static_cast<double>(a.facts.correct) / n;
    row.loss = a.facts.loss_sum / n;
    parts_.metrics.set("shoal_job_accuracy", *row.accuracy, {"job", job_name(a.job)});
    parts_.log.info("evaluated version " + std::to_string(a.version) + " job=" + job_name(a.job) + ": accuracy=" +
                    text(*row.accuracy) + " loss=" + text(*row.loss) + " devices=" + std::to_string(a.devices));
  }
  parts_.history.put(a.job, row);
  tell_news();
}

HistoryRow Service::new_row(JobId job, Version version) const {
  HistoryRow row;
  row.version = version;
  row.seconds = to_seconds(now() - Time{});
  const protocol::Traffic traffic = traffic_of(job);
  row.bytes_up = traffic.up;
  row.bytes_down = traffic.down;
  return row;
}

// The model's size and the scale of its sums, read from the newest version's header once a job.
Result<Service::JobShape> Service::shape_of(JobId id) {
  if (const auto known = shapes_.find(id); known != shapes_.end()) return known->second;
  const auto job = machine().job(id);
  SHOAL_CHECK(job.has_value(), "a shape for an unknown job");
  SHOAL_TRY_ASSIGN(const auto reader, parts_.models.open(models().at({id, job->version})));
  std::vector<std::byte> bytes(8);
  SHOAL_TRY(reader->read(0, bytes));
  SHOAL_TRY_ASSIGN(const std::uint64_t header_size, protocol::header_bytes(bytes, reader->bytes()));
  bytes.resize(header_size);
  SHOAL_TRY(reader->read(0, bytes));
  SHOAL_TRY_ASSIGN(const auto header, protocol::parse_header(bytes, reader->bytes()));
  SHOAL_TRY_ASSIGN(const TensorLayout layout, protocol::layout_of(header));
  SHOAL_TRY_ASSIGN(const auto scale, aggregation::SumScale::make(max_weight(job->spec), job->spec.limits.update_bound,
                                                                 max_updates(job->spec)));
  SHOAL_TRY_ASSIGN(auto updates, protocol::update_layouts(job->spec.training.plan, layout));
  return shapes_[id] = {layout.total(), scale, std::move(updates)};
}

std::string Service::job_name(JobId id) const {
  const auto job = machine().job(id);
  return job ? job->spec.name : std::to_string(id.value);
}

}  // namespace shoal::coordinator
