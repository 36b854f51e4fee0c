#include "tests/protocol/sample_messages.h"

#include <algorithm>

#include "protocol/limits.h"

namespace shoal::protocol {
namespace {

using namespace message;

std::array<std::uint8_t, 32> counted_bytes(std::uint8_t first) {
  std::array<std::uint8_t, 32> bytes;
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(first + i);
  return bytes;
}

ObjectInfo sample_object(std::uint64_t id) {
  return {.id = id, .bytes = 4'000'000, .suite = CipherSuite::kChaCha20Poly1305, .key = counted_bytes(64)};
}

Ticket sample_ticket() { return {"tcp://fleet.example:7703", "ticket-17", "a secret of the ticket"}; }

Assignment sample_assignment() {
  return {.id = {17},
          .job = {3},
          .kind = TaskKind::kTrain,
          .version = 41,
          .steps = 120,
          .seed = 0x0123456789abcdef,
          .lease = std::chrono::minutes(7),
          .training = {.epochs = 2,
                       .batch_size = 32,
                       .learning_rate = 0.05,
                       .momentum = 0.9,
                       .weight_decay = 1e-4,
                       .proximal = 0.01},
          .bound = 16,
          .max_samples = 100'000,
          .max_updates = 13};
}

// ---- random ----

std::string random_text(Stream& stream, std::size_t max_bytes) {
  constexpr std::string_view kCharacters[] = {"a", "Z", "0", " ", "\"", "\\", "é", "≤", "魚", "\xF0\x9F\x90\x9F"};
  const std::size_t bytes = stream.below(4) == 0 ? max_bytes : stream.below(max_bytes + 1);
  std::string text;
  while (true) {
    const std::string_view next = kCharacters[stream.below(std::size(kCharacters))];
    if (text.size() + next.size() > bytes) return text;
    text += next;
  }
}

// All magnitudes up to `high`, and `high` itself now and then.
std::uint64_t random_number(Stream& stream, std::uint64_t high) {
  return stream.below(8) == 0 ? high : std::min(high, stream.next64() >> stream.below(64));
}

double random_real(Stream& stream, double low, double high) {
  return std::min(high, low + (high - low) * stream.uniform());
}

Duration random_duration(Stream& stream) {
  return Duration(static_cast<Duration::rep>(random_number(stream, static_cast<std::uint64_t>(kMaxDuration.count()))));
}

std::array<std::uint8_t, 32> random_key(Stream& stream) {
  std::array<std::uint8_t, 32> bytes;
  for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(stream.next32());
  return bytes;
}

AssignmentId random_assignment_id(Stream& stream) { return {random_number(stream, ~0ull)}; }

Refusal random_refusal(Stream& stream) { return kRefusalTexts[stream.below(kRefusalTexts.size())].refusal; }

ObjectInfo random_object(Stream& stream, std::uint64_t id) {
  return {.id = id,
          .bytes = 1 + random_number(stream, kMaxObjectBytes - 1),
          .suite = stream.below(2) == 0 ? CipherSuite::kAes256Gcm : CipherSuite::kChaCha20Poly1305,
          .key = random_key(stream)};
}

Ticket random_ticket(Stream& stream) {
  const std::string host = stream.below(2) == 0 ? std::string(1 + stream.below(kMaxHostBytes), 'h') : "[fe80::1%eth0]";
  return {"tcp://" + host + ":" + std::to_string(1 + stream.below(65535)), random_text(stream, kMaxTicketBytes),
          random_text(stream, kMaxTicketBytes)};
}

TrainingSpec random_training(Stream& stream) {
  return {.epochs = static_cast<std::uint32_t>(1 + stream.below(10000)),
          .batch_size = static_cast<std::uint32_t>(1 + stream.below(65536)),
          .optimizer = stream.below(2) == 0 ? LocalOptimizerKind::kSgd : LocalOptimizerKind::kAdam,
          .learning_rate = random_real(stream, 0, 1e3),
          .momentum = random_real(stream, 0, 0.9999),
          .weight_decay = random_real(stream, 0, 1),
          .proximal = random_real(stream, 0, 1e3),
          .plan = random_text(stream, kMaxPlanBytes)};
}

Assignment random_assignment(Stream& stream) {
  return {.id = random_assignment_id(stream),
          .job = {random_number(stream, ~0ull)},
          .kind = stream.below(2) == 0 ? TaskKind::kTrain : TaskKind::kEvaluate,
          .version = random_number(stream, ~0ull),
          .steps = stream.next32(),
          .seed = stream.next64(),
          .lease = random_duration(stream),
          .training = random_training(stream),
          .bound = random_real(stream, 0, kMaxUpdateBound),
          .max_samples = random_number(stream, kMaxSamples),
          .max_updates = stream.next32()};
}

UpdateFacts random_update(Stream& stream) {
  return {.digest = {random_key(stream)},
          .bytes = random_number(stream, kMaxObjectBytes),
          .samples = random_number(stream, kMaxSamples),
          .steps = random_number(stream, kMaxSteps),
          .loss = random_real(stream, -kMaxLoss, kMaxLoss),
          .norm = random_real(stream, 0, kMaxNorm),
          .trained = random_duration(stream)};
}

}  // namespace

std::vector<std::pair<std::string, DeviceMessage>> sample_device_messages() {
  const DeviceFacts facts{.train_samples = 600, .test_samples = 100, .memory_budget = 128u << 20};
  const UpdateFacts update{.digest = {counted_bytes(1)},
                           .bytes = 4'000'000,
                           .samples = 600,
                           .steps = 120,
                           .loss = 0.34375,
                           .norm = 1.5,
                           .trained = std::chrono::milliseconds(12345)};
  return {
      {"hello",
       Hello{.build = "0.1.0 (linux, armv7)", .facts = facts, .working = {17}, .unsent = {}, .process = 0xfeed}},
      {"hello_unsent",
       Hello{.oldest = 1, .newest = 3, .build = "0.3.0", .facts = facts, .working = {}, .unsent = {16}}},
      {"redeem", Redeem{.name = "greenhouse 4, north wall", .device_key = counted_bytes(128)}},
      {"heartbeat", Heartbeat{}},
      {"fetch_model", FetchModel{{17}}},
      {"offer_update", OfferUpdate{{17}, update, sample_object(17)}},
      {"evaluation_done", EvaluationDone{{18}, {.samples = 100, .correct = 93, .loss_sum = 21.75}}},
      {"task_failed", TaskFailed{{17}, "cannot read data/train.csv: line 12 has 5 columns, not 9"}},
      {"task_failed_budget", TaskFailed{{17}, "memory_limit is 128 MB", Refusal::kBudgetTooSmall}},
      {"goodbye", Goodbye{}},
  };
}

std::vector<std::pair<std::string, CoordinatorMessage>> sample_coordinator_messages() {
  return {
      {"welcome", Welcome{.protocol = 1,
                          .device = {5},
                          .heartbeat = std::chrono::seconds(20),
                          .reconnect_window = std::chrono::seconds(5)}},
      {"redeemed", Redeemed{{5}, false}},
      {"refused_session", Refused{.refusal = Refusal::kRevoked, .assignment = {}, .detail = ""}},
      {"refused_update",
       Refused{Refusal::kStorageFull, {17}, "the data folder has 3 MB left", std::chrono::seconds(90)}},
      {"assign", Assign{sample_assignment(), {counted_bytes(32)}, 4'001'024}},
      {"model_ticket", ModelTicket{{17}, sample_ticket(), sample_object(0xfeedface)}},
      {"upload_ticket", UploadTicket{{17}, sample_ticket(), 12}},
      {"receipt", Receipt{{17}}},
      {"revoke", Revoke{{17}, Refusal::kRoundAbandoned}},
      {"drain", Drain{std::chrono::seconds(30)}},
      {"passed_over", PassedOver{Refusal::kBudgetTooSmall, "job mnist needs 12.3 MB for its smallest plan, head"}},
  };
}

DeviceMessage random_device_message(Stream& stream) {
  const auto versions = [&] { return static_cast<std::uint16_t>(stream.below(100)); };
  const std::uint16_t oldest = versions(), newest = static_cast<std::uint16_t>(oldest + versions());
  switch (stream.below(std::variant_size_v<DeviceMessage>)) {
    case 0:
      return Hello{oldest,
                   newest,
                   random_text(stream, kMaxBuildBytes),
                   {random_number(stream, kMaxSamples), random_number(stream, kMaxSamples),
                    random_number(stream, kMaxMemoryBudget)},
                   random_assignment_id(stream),
                   random_assignment_id(stream),
                   stream.next64()};
    case 1: return Redeem{oldest, newest, random_text(stream, kMaxNameBytes), random_key(stream)};
    case 2: return Heartbeat{};
    case 3: return FetchModel{random_assignment_id(stream)};
    case 4: {
      const AssignmentId id = random_assignment_id(stream);
      return OfferUpdate{id, random_update(stream), random_object(stream, id.value)};
    }
    case 5: {
      const std::uint64_t samples = random_number(stream, kMaxSamples);
      return EvaluationDone{random_assignment_id(stream),
                            {samples, random_number(stream, samples), random_real(stream, -kMaxLoss, kMaxLoss)}};
    }
    case 6: return TaskFailed{random_assignment_id(stream), random_text(stream, kMaxReasonBytes), Refusal::kNotFinite};
    default: return Goodbye{};
  }
}

CoordinatorMessage random_coordinator_message(Stream& stream) {
  const AssignmentId id = random_assignment_id(stream);
  switch (stream.below(std::variant_size_v<CoordinatorMessage>)) {
    case 0:
      return Welcome{static_cast<std::uint16_t>(stream.next32()),
                     {stream.next64()},
                     random_duration(stream),
                     random_duration(stream)};
    case 1: return Redeemed{{stream.next64()}, stream.below(2) == 0};
    case 2: return Refused{random_refusal(stream), id, random_text(stream, kMaxReasonBytes), random_duration(stream)};
    case 3:
      return Assign{random_assignment(stream), {random_key(stream)}, 1 + random_number(stream, kMaxObjectBytes - 1)};
    case 4: return ModelTicket{id, random_ticket(stream), random_object(stream, stream.next64())};
    case 5:
      return UploadTicket{id, random_ticket(stream), static_cast<std::uint32_t>(random_number(stream, kMaxChunks))};
    case 6: return Receipt{id};
    case 7: return Revoke{id, random_refusal(stream)};
    case 8: return PassedOver{random_refusal(stream), random_text(stream, kMaxReasonBytes)};
    default: return Drain{random_duration(stream)};
  }
}

}  // namespace shoal::protocol
