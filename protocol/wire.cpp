#include "protocol/wire.h"

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <kj/exception.h>

#include <array>
#include <cstring>

#include "protocol/limits.h"
#include "protocol/message_limits.h"
#include "protocol/shoal.capnp.h"

namespace shoal::protocol {
namespace {

// Each struct has a put() and a get(), side by side. get() trusts nothing but the types: check() follows. A wrong
// length of a fixed-size field throws, as Cap'n Proto's own checks do; decode() catches.

template <std::size_t N>
kj::ArrayPtr<const kj::byte> data(const std::array<std::uint8_t, N>& bytes) {
  return kj::arrayPtr(bytes.data(), N);
}
template <std::size_t N>
std::array<std::uint8_t, N> bytes(capnp::Data::Reader data) {
  KJ_REQUIRE(data.size() == N, "a key or digest has a wrong length", data.size());
  std::array<std::uint8_t, N> out;
  std::memcpy(out.data(), data.begin(), N);
  return out;
}
std::string text(capnp::Text::Reader reader) { return {reader.begin(), reader.size()}; }

// ---- what messages carry ----

void put(const DeviceFacts& f, schema::DeviceFacts::Builder b) {
  b.setTrainSamples(f.train_samples);
  b.setTestSamples(f.test_samples);
  b.setMemoryBudget(f.memory_budget);
}
DeviceFacts get(schema::DeviceFacts::Reader r) {
  return {r.getTrainSamples(), r.getTestSamples(), r.getMemoryBudget()};
}

void put(const UpdateFacts& f, schema::UpdateFacts::Builder b) {
  b.setDigest(data(f.digest.bytes));
  b.setBytes(f.bytes);
  b.setSamples(f.samples);
  b.setSteps(f.steps);
  b.setLoss(f.loss);
  b.setNorm(f.norm);
  b.setTrained(f.trained.count());
}
UpdateFacts get(schema::UpdateFacts::Reader r) {
  return {.digest = {bytes<32>(r.getDigest())},
          .bytes = r.getBytes(),
          .samples = r.getSamples(),
          .steps = r.getSteps(),
          .loss = r.getLoss(),
          .norm = r.getNorm(),
          .trained = Duration(r.getTrained())};
}

void put(const ObjectInfo& o, schema::Object::Builder b) {
  b.setId(o.id);
  b.setBytes(o.bytes);
  b.setSuite(static_cast<std::uint8_t>(o.suite));
  b.setKey(data(o.key));
}
ObjectInfo get(schema::Object::Reader r) {
  return {.id = r.getId(), .bytes = r.getBytes(), .suite = CipherSuite{r.getSuite()}, .key = bytes<32>(r.getKey())};
}

void put(const Ticket& t, schema::Ticket::Builder b) {
  b.setEndpoint(t.endpoint);
  b.setUser(t.user);
  b.setSecret(t.secret);
}
Ticket get(schema::Ticket::Reader r) { return {text(r.getEndpoint()), text(r.getUser()), text(r.getSecret())}; }

void put(const TrainingSpec& t, schema::Training::Builder b) {
  b.setEpochs(t.epochs);
  b.setBatchSize(t.batch_size);
  b.setLearningRate(t.learning_rate);
  b.setMomentum(t.momentum);
  b.setWeightDecay(t.weight_decay);
  b.setProximal(t.proximal);
  b.setPlan(t.plan);
  b.setOptimizer(static_cast<std::uint8_t>(t.optimizer));
}
TrainingSpec get(schema::Training::Reader r) {
  return {.epochs = r.getEpochs(),
          .batch_size = r.getBatchSize(),
          .optimizer = static_cast<LocalOptimizerKind>(r.getOptimizer()),
          .learning_rate = r.getLearningRate(),
          .momentum = r.getMomentum(),
          .weight_decay = r.getWeightDecay(),
          .proximal = r.getProximal(),
          .plan = text(r.getPlan())};
}

void put(const Assignment& a, schema::Assignment::Builder b) {
  b.setId(a.id.value);
  b.setJob(a.job.value);
  b.setKind(static_cast<std::uint8_t>(a.kind));
  b.setVersion(a.version);
  b.setSteps(a.steps);
  b.setSeed(a.seed);
  b.setLease(a.lease.count());
  put(a.training, b.initTraining());
  b.setBound(a.bound);
  b.setMaxSamples(a.max_samples);
  b.setMaxUpdates(a.max_updates);
}
Assignment get(schema::Assignment::Reader r) {
  return {.id = {r.getId()},
          .job = {r.getJob()},
          .kind = TaskKind{r.getKind()},
          .version = r.getVersion(),
          .steps = r.getSteps(),
          .seed = r.getSeed(),
          .lease = Duration(r.getLease()),
          .training = get(r.getTraining()),
          .bound = r.getBound(),
          .max_samples = r.getMaxSamples(),
          .max_updates = r.getMaxUpdates()};
}

// ---- device to coordinator ----

void put(const message::Hello& m, schema::DeviceMessage::Builder root) {
  auto b = root.initHello();
  b.setOldest(m.oldest);
  b.setNewest(m.newest);
  b.setBuild(m.build);
  put(m.facts, b.initFacts());
  b.setWorking(m.working.value);
  b.setUnsent(m.unsent.value);
  b.setProcess(m.process);
}
message::Hello get(schema::Hello::Reader r) {
  return {.oldest = r.getOldest(),
          .newest = r.getNewest(),
          .build = text(r.getBuild()),
          .facts = get(r.getFacts()),
          .working = {r.getWorking()},
          .unsent = {r.getUnsent()},
          .process = r.getProcess()};
}

void put(const message::Redeem& m, schema::DeviceMessage::Builder root) {
  auto b = root.initRedeem();
  b.setOldest(m.oldest);
  b.setNewest(m.newest);
  b.setName(m.name);
  b.setDeviceKey(data(m.device_key));
}
message::Redeem get(schema::Redeem::Reader r) {
  return {r.getOldest(), r.getNewest(), text(r.getName()), bytes<32>(r.getDeviceKey())};
}

void put(const message::Heartbeat&, schema::DeviceMessage::Builder root) { root.setHeartbeat(); }
void put(const message::FetchModel& m, schema::DeviceMessage::Builder root) { root.setFetchModel(m.assignment.value); }

void put(const message::OfferUpdate& m, schema::DeviceMessage::Builder root) {
  auto b = root.initOfferUpdate();
  b.setAssignment(m.assignment.value);
  put(m.facts, b.initFacts());
  put(m.object, b.initObject());
}
message::OfferUpdate get(schema::OfferUpdate::Reader r) {
  return {{r.getAssignment()}, get(r.getFacts()), get(r.getObject())};
}

void put(const message::EvaluationDone& m, schema::DeviceMessage::Builder root) {
  auto b = root.initEvaluationDone();
  b.setAssignment(m.assignment.value);
  b.setSamples(m.facts.samples);
  b.setCorrect(m.facts.correct);
  b.setLossSum(m.facts.loss_sum);
}
message::EvaluationDone get(schema::EvaluationDone::Reader r) {
  return {{r.getAssignment()}, {r.getSamples(), r.getCorrect(), r.getLossSum()}};
}

void put(const message::TaskFailed& m, schema::DeviceMessage::Builder root) {
  auto b = root.initTaskFailed();
  b.setAssignment(m.assignment.value);
  b.setReason(m.reason);
  b.setRefusal(static_cast<std::uint8_t>(m.refusal));
}
message::TaskFailed get(schema::TaskFailed::Reader r) {
  return {{r.getAssignment()}, text(r.getReason()), Refusal{r.getRefusal()}};
}

void put(const message::Goodbye&, schema::DeviceMessage::Builder root) { root.setGoodbye(); }

DeviceMessage get(schema::DeviceMessage::Reader r) {
  switch (r.which()) {
    case schema::DeviceMessage::HELLO: return get(r.getHello());
    case schema::DeviceMessage::REDEEM: return get(r.getRedeem());
    case schema::DeviceMessage::HEARTBEAT: return message::Heartbeat{};
    case schema::DeviceMessage::FETCH_MODEL: return message::FetchModel{{r.getFetchModel()}};
    case schema::DeviceMessage::OFFER_UPDATE: return get(r.getOfferUpdate());
    case schema::DeviceMessage::EVALUATION_DONE: return get(r.getEvaluationDone());
    case schema::DeviceMessage::TASK_FAILED: return get(r.getTaskFailed());
    case schema::DeviceMessage::GOODBYE: return message::Goodbye{};
  }
  KJ_FAIL_REQUIRE("a message of a kind that this build does not know");
}

// ---- coordinator to device ----

void put(const message::Welcome& m, schema::CoordinatorMessage::Builder root) {
  auto b = root.initWelcome();
  b.setProtocol(m.protocol);
  b.setDevice(m.device.value);
  b.setHeartbeat(m.heartbeat.count());
  b.setReconnectWindow(m.reconnect_window.count());
}
message::Welcome get(schema::Welcome::Reader r) {
  return {r.getProtocol(), {r.getDevice()}, Duration(r.getHeartbeat()), Duration(r.getReconnectWindow())};
}

void put(const message::Redeemed& m, schema::CoordinatorMessage::Builder root) {
  auto b = root.initRedeemed();
  b.setDevice(m.device.value);
  b.setApproved(m.approved);
}
message::Redeemed get(schema::Redeemed::Reader r) { return {{r.getDevice()}, r.getApproved()}; }

void put(const message::Refused& m, schema::CoordinatorMessage::Builder root) {
  auto b = root.initRefused();
  b.setRefusal(static_cast<std::uint8_t>(m.refusal));
  b.setAssignment(m.assignment.value);
  b.setDetail(m.detail);
  b.setRetryAfter(m.retry_after.count());
}
message::Refused get(schema::Refused::Reader r) {
  return {Refusal{r.getRefusal()}, {r.getAssignment()}, text(r.getDetail()), Duration(r.getRetryAfter())};
}

void put(const message::Assign& m, schema::CoordinatorMessage::Builder root) {
  auto b = root.initAssign();
  put(m.assignment, b.initAssignment());
  b.setModel(data(m.model.bytes));
  b.setModelBytes(m.model_bytes);
}
message::Assign get(schema::Assign::Reader r) {
  return {get(r.getAssignment()), {bytes<32>(r.getModel())}, r.getModelBytes()};
}

void put(const message::ModelTicket& m, schema::CoordinatorMessage::Builder root) {
  auto b = root.initModelTicket();
  b.setAssignment(m.assignment.value);
  put(m.ticket, b.initTicket());
  put(m.object, b.initObject());
}
message::ModelTicket get(schema::ModelTicket::Reader r) {
  return {{r.getAssignment()}, get(r.getTicket()), get(r.getObject())};
}

void put(const message::UploadTicket& m, schema::CoordinatorMessage::Builder root) {
  auto b = root.initUploadTicket();
  b.setAssignment(m.assignment.value);
  put(m.ticket, b.initTicket());
  b.setFirstChunk(m.first_chunk);
}
message::UploadTicket get(schema::UploadTicket::Reader r) {
  return {{r.getAssignment()}, get(r.getTicket()), r.getFirstChunk()};
}

void put(const message::Receipt& m, schema::CoordinatorMessage::Builder root) { root.setReceipt(m.assignment.value); }

void put(const message::Revoke& m, schema::CoordinatorMessage::Builder root) {
  auto b = root.initRevoke();
  b.setAssignment(m.assignment.value);
  b.setRefusal(static_cast<std::uint8_t>(m.refusal));
}
message::Revoke get(schema::Revoke::Reader r) { return {{r.getAssignment()}, Refusal{r.getRefusal()}}; }

void put(const message::PassedOver& m, schema::CoordinatorMessage::Builder root) {
  auto b = root.initPassedOver();
  b.setRefusal(static_cast<std::uint8_t>(m.refusal));
  b.setDetail(m.detail);
}
message::PassedOver get(schema::PassedOver::Reader r) { return {Refusal{r.getRefusal()}, text(r.getDetail())}; }

void put(const message::Drain& m, schema::CoordinatorMessage::Builder root) {
  root.setDrain(m.reconnect_window.count());
}

CoordinatorMessage get(schema::CoordinatorMessage::Reader r) {
  switch (r.which()) {
    case schema::CoordinatorMessage::WELCOME: return get(r.getWelcome());
    case schema::CoordinatorMessage::REDEEMED: return get(r.getRedeemed());
    case schema::CoordinatorMessage::REFUSED: return get(r.getRefused());
    case schema::CoordinatorMessage::ASSIGN: return get(r.getAssign());
    case schema::CoordinatorMessage::MODEL_TICKET: return get(r.getModelTicket());
    case schema::CoordinatorMessage::UPLOAD_TICKET: return get(r.getUploadTicket());
    case schema::CoordinatorMessage::RECEIPT: return message::Receipt{{r.getReceipt()}};
    case schema::CoordinatorMessage::REVOKE: return get(r.getRevoke());
    case schema::CoordinatorMessage::PASSED_OVER: return get(r.getPassedOver());
    case schema::CoordinatorMessage::DRAIN: return message::Drain{Duration(r.getDrain())};
  }
  KJ_FAIL_REQUIRE("a message of a kind that this build does not know");
}

// ---- whole messages ----

template <class Schema, class Message>
std::vector<std::byte> encode_as(Message message) {
  fit(message);
  const Status within_limits = check(message);
  SHOAL_CHECK(within_limits.ok(), "a message to be sent is out of its limits: " + within_limits.error().to_string());

  // One segment for every message within its limits; zeroed, as the builder asks.
  std::array<capnp::word, kMaxControlBytes / sizeof(capnp::word)> scratch{};
  capnp::MallocMessageBuilder builder(kj::arrayPtr(scratch.data(), scratch.size()));
  auto root = builder.initRoot<Schema>();
  std::visit([&](const auto& m) { put(m, root); }, message);
  const kj::Array<capnp::word> words = capnp::messageToFlatArray(builder);
  const auto flat = words.asBytes();
  SHOAL_CHECK(flat.size() <= kMaxControlBytes, "a message within its limits is too long");
  const auto* first = reinterpret_cast<const std::byte*>(flat.begin());
  return {first, first + flat.size()};
}

Error malformed(std::string_view why) {
  return Error(ErrorCode::kCorrupt, "malformed control message: " + one_line(why, kMaxReasonBytes));
}

template <class Schema, class Message>
Result<Message> decode_as(std::span<const std::byte> input) {
  if (input.empty() || input.size() > kMaxControlBytes || input.size() % sizeof(capnp::word) != 0)
    return malformed(std::to_string(input.size()) + " bytes");
  // A copy, since the input may lie at any address.
  std::array<capnp::word, kMaxControlBytes / sizeof(capnp::word)> words;
  std::memcpy(words.data(), input.data(), input.size());
  const auto message_words = kj::arrayPtr(words.data(), input.size() / sizeof(capnp::word));

  try {
    capnp::ReaderOptions options;
    options.traversalLimitInWords = kMaxTraversalWords;
    options.nestingLimit = kMaxControlNesting;
    capnp::FlatArrayMessageReader reader(message_words, options);
    if (reader.getEnd() != message_words.end()) return malformed("bytes follow its end");
    Result<Message> message = get(reader.getRoot<Schema>());
    if (const Status status = check(message.value()); !status.ok()) return malformed(status.error().message());
    return message;
  } catch (const kj::Exception& exception) {
    return malformed(exception.getDescription().cStr());
  }
}

}  // namespace

std::vector<std::byte> encode(const DeviceMessage& message) { return encode_as<schema::DeviceMessage>(message); }
std::vector<std::byte> encode(const CoordinatorMessage& message) {
  return encode_as<schema::CoordinatorMessage>(message);
}

Result<DeviceMessage> decode_device(std::span<const std::byte> bytes) {
  return decode_as<schema::DeviceMessage, DeviceMessage>(bytes);
}
Result<CoordinatorMessage> decode_coordinator(std::span<const std::byte> bytes) {
  return decode_as<schema::CoordinatorMessage, CoordinatorMessage>(bytes);
}

}  // namespace shoal::protocol
