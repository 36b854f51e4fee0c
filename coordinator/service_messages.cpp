// What devices say to the service, one function a message. Untrusted bytes become typed messages here, and messages
// events.
#include "base/check.h"
#include "coordinator/service.h"
#include "protocol/wire.h"

namespace shoal::coordinator {
namespace {

using protocol::PeerClass;
using protocol::Refusal;
namespace message = protocol::message;

constexpr Duration kTicketValidity = std::chrono::minutes(2);
constexpr Duration kTryAgain = std::chrono::seconds(5);
constexpr Duration kApprovalPoll = std::chrono::seconds(10);

// The side that is old is told so; kNone when both speak a common version.
Refusal negotiate(std::uint16_t oldest, std::uint16_t newest) {
  if (newest < protocol::kOldestProtocol) return Refusal::kClientTooOld;
  if (oldest > protocol::kNewestProtocol) return Refusal::kCoordinatorTooOld;
  return Refusal::kNone;
}

// Before a byte of the body is accepted: it has its plan's layout, as far as its size tells.
Refusal judge_offer(const message::OfferUpdate& m, std::uint64_t expected_bytes) {
  if (m.object.id != m.assignment.value) return Refusal::kMalformed;
  if (m.object.bytes > expected_bytes) return Refusal::kTooLarge;
  return m.object.bytes == expected_bytes && m.facts.bytes == expected_bytes ? Refusal::kNone : Refusal::kWrongShape;
}

// A model version on its way to one device.
class ModelDownload final : public protocol::ChunkSource {
 public:
  explicit ModelDownload(std::unique_ptr<ModelReader> reader) : reader_(std::move(reader)) {}
  Status read(std::uint32_t chunk, std::vector<std::byte>& sealed) override {
    return reader_->read_sealed(chunk, sealed);
  }

 private:
  std::unique_ptr<ModelReader> reader_;
};

}  // namespace

void Service::send(const protocol::Peer& peer, const protocol::CoordinatorMessage& message) {
  if (peer.route.empty()) return;
  control_traffic_[account_of(peer)].down += parts_.control.send(peer, protocol::encode(message));
}

protocol::Account Service::account_of(const protocol::Peer& peer) const {
  const DeviceRecord* record = parts_.registry.find(peer.key);
  if (record == nullptr) return {};
  const Session* session = sessions_.find(record->id);
  return {record->id, session == nullptr ? JobId{} : session->job};
}

void Service::refuse(const protocol::Peer& peer, Refusal refusal, AssignmentId assignment, std::string detail,
                     Duration retry_after) {
  const DeviceRecord* record = parts_.registry.find(peer.key);
  note_refusal(record == nullptr ? DeviceId{} : record->id, refusal, assignment, detail);
  send(peer, message::Refused{refusal, assignment, std::move(detail), retry_after});
}

// Counts and logs a refusal; `device` is 0 for a stranger.
void Service::note_refusal(DeviceId device, Refusal refusal, AssignmentId assignment, const std::string& detail) {
  const std::string reason(text_of(refusal).name);
  parts_.metrics.add("shoal_refusals_total", 1, {"reason", reason});
  if (!device) return;
  parts_.registry.note_refusal(device, refusal, detail, parts_.unix_seconds());
  parts_.log.info("refused device=" + std::to_string(device.value) + " reason=" + reason +
                  (assignment ? " assignment=" + std::to_string(assignment.value) : ""));
}

void Service::on_incoming(const protocol::Incoming& incoming) {
  const protocol::Peer& peer = incoming.peer;
  control_traffic_[account_of(peer)].up += incoming.wire_bytes;
  if (peer.peer_class == PeerClass::kRefused) return refuse(peer, Refusal::kRevoked);
  auto decoded = protocol::decode_device(incoming.payload);
  if (!decoded.ok()) return refuse(peer, Refusal::kMalformed, {}, decoded.error().message());
  const protocol::DeviceMessage& m = *decoded;
  if (const auto* redeem = std::get_if<message::Redeem>(&m)) {
    if (peer.peer_class != PeerClass::kInvitation)
      return refuse(peer, Refusal::kMalformed, {}, "only invitations are redeemed");
    return on_redeem(peer, *redeem);
  }
  const DeviceRecord* record = parts_.registry.find(peer.key);
  if (peer.peer_class != PeerClass::kDevice || record == nullptr) return refuse(peer, Refusal::kUnknownKey);
  if (record->standing == Standing::kRevoked) return refuse(peer, Refusal::kRevoked);
  if (const auto* hello = std::get_if<message::Hello>(&m)) return on_hello(peer, *record, *hello);

  Session* session = sessions_.find(record->id);
  if (session == nullptr || session->peer.route != peer.route) {
    // The session was given up for silence, or taken over. Only a Hello begins another.
    if (session == nullptr) refuse(peer, Refusal::kBusy, {}, "the session had ended; connect again", kTryAgain);
    return;
  }
  sessions_.keep_alive(*session, now() + 3 * options_.heartbeat);
  const DeviceId device = record->id;
  if (const auto* fetch = std::get_if<message::FetchModel>(&m)) {
    on_fetch(*session, *fetch);
  } else if (const auto* offer = std::get_if<message::OfferUpdate>(&m)) {
    on_offer(*session, *offer);
  } else if (const auto* done = std::get_if<message::EvaluationDone>(&m)) {
    durable_.step(event::EvaluationReceived{device, done->assignment, done->facts}, now());
  } else if (const auto* failed = std::get_if<message::TaskFailed>(&m)) {
    parts_.log.warn("device=" + std::to_string(device.value) +
                    " failed assignment=" + std::to_string(failed->assignment.value) +
                    " reason=" + std::string(text_of(failed->refusal).name) + ": " + failed->reason);
    failed_[failed->assignment] = failed->reason;
    durable_.step(event::AssignmentFailed{device, failed->assignment, failed->refusal, failed->reason}, now());
  } else if (std::holds_alternative<message::Goodbye>(m)) {
    parts_.log.info("goodbye device=" + std::to_string(device.value));
    sessions_.close(device);
    durable_.step(event::DeviceLost{device, false}, now());
  }
}

void Service::on_redeem(const protocol::Peer& peer, const message::Redeem& m) {
  if (const Refusal refusal = negotiate(m.oldest, m.newest); refusal != Refusal::kNone) return refuse(peer, refusal);
  auto redeemed = parts_.registry.redeem(peer.key, m.device_key, m.name, options_.approval == Approval::kAutomatic,
                                         parts_.unix_seconds());
  if (!redeemed.ok()) {
    parts_.log.warn("an enrolment could not be stored: " + redeemed.error().to_string());
    return refuse(peer, Refusal::kStorageFull, {}, {}, kTryAgain);
  }
  if (const auto* refusal = std::get_if<Refusal>(&*redeemed)) return refuse(peer, *refusal);
  const auto& record = std::get<DeviceRecord>(*redeemed);
  parts_.metrics.add("shoal_devices_enrolled_total");
  parts_.log.info("enrolled device=" + std::to_string(record.id.value) + " name=" + record.name +
                  " standing=" + std::string(name_of(record.standing)));
  send(peer, message::Redeemed{record.id, record.standing == Standing::kApproved});
}

void Service::on_hello(const protocol::Peer& peer, const DeviceRecord& record, const message::Hello& m) {
  if (const Refusal refusal = negotiate(m.oldest, m.newest); refusal != Refusal::kNone) {
    return refuse(peer, refusal, {},
                  "client speaks " + std::to_string(m.oldest) + " to " + std::to_string(m.newest) + ", coordinator " +
                      std::to_string(protocol::kOldestProtocol) + " to " + std::to_string(protocol::kNewestProtocol));
  }
  if (record.standing == Standing::kPending) return refuse(peer, Refusal::kAwaitingApproval, {}, {}, kApprovalPoll);

  const bool known = sessions_.find(record.id) != nullptr;
  if (const auto replaced = sessions_.open(record.id, peer, m.process, m.facts, now() + 3 * options_.heartbeat)) {
    parts_.log.warn("two sessions of device=" + std::to_string(record.id.value) + ": the newer one goes on");
    refuse(*replaced, Refusal::kReplacedSession);
  }
  Session& session = *sessions_.find(record.id);
  session.holds = m.unsent ? m.unsent : m.working;
  send(peer, message::Welcome{protocol::kNewestProtocol, record.id, options_.heartbeat, reconnect_window()});
  parts_.log.info((known ? "reconnected device=" : "connected device=") + std::to_string(record.id.value) +
                  " samples=" + std::to_string(m.facts.train_samples) + " build=" + m.build);
  durable_.step(event::DeviceReady{record.id, m.facts}, now());

  const auto open = machine().assignment_of(record.id, now());
  session.job = open ? open->job : JobId{};
  if (m.working && (!open || open->id != m.working)) send(peer, message::Revoke{m.working, Refusal::kLeaseExpired});
  if (open && open->id != session.holds)
    after_flush_.push_back([this, device = record.id, id = open->id] {
      // Unless the turn has ended it, or has just sent it.
      Session* s = sessions_.find(device);
      if (s != nullptr && s->holds != id) send_open_assignment(*s);
    });
}

void Service::send_open_assignment(Session& session) {
  const auto open = machine().assignment_of(session.device, now());
  if (!open) return;
  const auto model = models().find({open->job, open->version});
  SHOAL_CHECK(model != models().end(), "an open assignment refers to a model version that is gone");
  session.holds = open->id;
  session.job = open->job;
  send(session.peer, message::Assign{*open, model->second.digest, model->second.bytes});
}

void Service::on_fetch(Session& session, const message::FetchModel& m) {
  const auto open = machine().assignment_of(session.device, now());
  if (!open || open->id != m.assignment) return refuse(session.peer, Refusal::kReplayed, m.assignment);
  const ModelRef& ref = models().at({open->job, open->version});
  auto reader = parts_.models.open(ref);
  if (!reader.ok()) {
    parts_.log.error("a model cannot be read: " + reader.error().to_string());
    return refuse(session.peer, Refusal::kBusy, m.assignment, {}, kTryAgain);
  }
  auto ticket = parts_.bulk.offer_download(ref.object, std::make_shared<ModelDownload>(std::move(*reader)),
                                           kTicketValidity, {session.device, open->job});
  if (!ticket.ok()) return refuse(session.peer, Refusal::kBusy, m.assignment, ticket.error().message(), kTryAgain);
  send(session.peer, message::ModelTicket{m.assignment, *ticket, ref.object});
}

void Service::on_offer(Session& session, const message::OfferUpdate& m) {
  bool already = false;
  Refusal refusal = machine().admissible(session.device, m.assignment, m.facts, &already);
  if (already) {
    // The answer may be newer than the last write (a full disk is waited for), and nobody is told of what is not
    // durable.
    after_flush_.push_back([this, peer = session.peer, refusal, id = m.assignment] {
      if (refusal != Refusal::kNone) return refuse(peer, refusal, id);
      send(peer, message::Receipt{id});
    });
    return;
  }
  const auto open = machine().assignment_of(session.device, now());
  if (refusal == Refusal::kNone) {
    const auto shape = shape_of(open->job);
    if (!shape.ok()) return refuse(session.peer, Refusal::kBusy, m.assignment, shape.error().message(), kTryAgain);
    refusal = judge_offer(m, shape->updates[machine().plan_of(open->id)].floats() * sizeof(float));
  }
  if (refusal != Refusal::kNone) {
    if (open && open->id == m.assignment)
      durable_.step(event::AssignmentFailed{session.device, m.assignment, refusal, {}}, now());
    else
      refuse(session.peer, refusal, m.assignment);
    return;
  }
  if (machine().storage_full()) return refuse(session.peer, Refusal::kStorageFull, m.assignment, {}, kTryAgain);
  session.holds = m.assignment;
  session.job = open->job;
  begin_upload({session.device, m.assignment, m.facts, m.object, open->bound});
}

void Service::begin_upload(const Offer& offer) {
  // An earlier connection's ticket must not write any more: once withdrawn, its sink is not called again.
  if (const auto old = tickets_.find(offer.assignment); old != tickets_.end()) {
    parts_.bulk.withdraw(old->second);
    tickets_.erase(old);
  }
  // It is being resumed, or all of an earlier try is there and is being synced: its answer follows.
  if (intake_.settling(offer.assignment)) return;
  auto opening = intake_.receive(offer);
  if (!opening.ok()) return open_upload(offer, std::move(opening).error());
  if (*opening) open_upload(offer, std::move(**opening));
}

void Service::open_upload(const Offer& offer, Result<Opening> opening) {
  // While it was being resumed, the device may have left or the assignment ended.
  Session* session = sessions_.find(offer.device);
  if (session == nullptr || session->holds != offer.assignment) return;
  if (!opening.ok()) {
    if (opening.error().code() == ErrorCode::kCorrupt) return;  // the intake reports a refusal
    parts_.log.warn("an upload cannot begin assignment=" + std::to_string(offer.assignment.value) + ": " +
                    opening.error().to_string());
    const bool full = opening.error().code() == ErrorCode::kExhausted;
    if (full) watch_storage(true);
    return refuse(session->peer, full ? Refusal::kStorageFull : Refusal::kBusy, offer.assignment, {}, kTryAgain);
  }
  const std::uint32_t held = opening->held;
  if (held > 0) parts_.metrics.add("shoal_uploads_resumed_total");
  if (held == offer.object.chunks()) return opening->sink->complete();
  auto ticket = parts_.bulk.offer_upload(offer.object, held, std::move(opening->sink), kTicketValidity,
                                         {session->device, session->job});
  if (!ticket.ok()) return refuse(session->peer, Refusal::kBusy, offer.assignment, ticket.error().message(), kTryAgain);
  tickets_[offer.assignment] = ticket->user;
  send(session->peer, message::UploadTicket{offer.assignment, *ticket, held});
}

}  // namespace shoal::coordinator
