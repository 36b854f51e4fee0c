#include "protocol/message_limits.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/option_ranges.h"
#include "protocol/limits.h"

namespace shoal::protocol {
namespace {

// Bytes of the UTF-8 character (RFC 3629) that `text` begins with; 0 if there is none.
std::size_t character_bytes(std::string_view text) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const auto continues = [&](std::size_t i) { return (byte(i) & 0xC0) == 0x80; };
  const unsigned first = byte(0);
  if (first < 0x80) return text.empty() ? 0 : 1;
  if (first >= 0xC2 && first <= 0xDF) return continues(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const bool overlong = first == 0xE0 && byte(1) < 0xA0;
    const bool surrogate = first == 0xED && byte(1) > 0x9F;
    return continues(1) && continues(2) && !overlong && !surrogate ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const bool overlong = first == 0xF0 && byte(1) < 0x90;
    const bool too_high = first == 0xF4 && byte(1) > 0x8F;
    return continues(1) && continues(2) && continues(3) && !overlong && !too_high ? 4 : 0;
  }
  return 0;
}

bool is_control(std::string_view character) {
  const auto first = static_cast<unsigned char>(character[0]);
  if (character.size() == 1) return first < 0x20 || first == 0x7F;
  return character.size() == 2 && first == 0xC2 && static_cast<unsigned char>(character[1]) < 0xA0;  // C1
}

bool is_one_line(std::string_view text) {
  while (!text.empty()) {
    const std::size_t n = character_bytes(text);
    if (n == 0 || is_control(text.substr(0, n))) return false;
    text.remove_prefix(n);
  }
  return true;
}

// Collects the first violation.
class Checker {
 public:
  void require(bool holds, const char* member, const char* rule) {
    if (!holds && status_.ok()) status_ = Error(ErrorCode::kCorrupt, std::string(member) + " " + rule);
  }
  void text(const char* member, std::string_view value, std::size_t max_bytes) {
    require(value.size() <= max_bytes, member, "is too long");
    require(is_one_line(value), member, "is not one line of UTF-8");
  }
  template <class T>
  void at_most(const char* member, T value, T high) {
    require(value <= high, member, "is too large");
  }
  // False for NaN too.
  void between(const char* member, double value, double low, double high) {
    require(value >= low && value <= high, member, "is not a number in its range");
  }
  void duration(const char* member, Duration value) {
    require(value >= Duration::zero() && value <= kMaxDuration, member, "is out of range");
  }
  void versions(std::uint16_t oldest, std::uint16_t newest) {
    require(oldest <= newest, "oldest", "is newer than the newest protocol version");
  }
  void refusal(Refusal value) { require(text_of(value).refusal == value, "refusal", "is an unknown reason"); }
  void endpoint(std::string_view value) { keep(check_endpoint(value)); }
  void keep(Status inner) {
    if (!inner.ok() && status_.ok()) status_ = Error(ErrorCode::kCorrupt, inner.error().message());
  }
  Status take() && { return std::move(status_); }

 private:
  Status status_;
};

void check_object(Checker& c, const ObjectInfo& o) {
  c.require(o.bytes > 0, "object.bytes", "is zero");
  c.at_most("object.bytes", o.bytes, kMaxObjectBytes);
  c.require(o.suite == CipherSuite::kAes256Gcm || o.suite == CipherSuite::kChaCha20Poly1305, "object.suite",
            "is unknown");
}

void check_ticket(Checker& c, const Ticket& t) {
  c.endpoint(t.endpoint);
  c.text("ticket.user", t.user, kMaxTicketBytes);
  c.text("ticket.secret", t.secret, kMaxTicketBytes);
}

void check_one(Checker& c, const message::Hello& m) {
  c.versions(m.oldest, m.newest);
  c.text("build", m.build, kMaxBuildBytes);
  c.at_most("train_samples", m.facts.train_samples, kMaxSamples);
  c.at_most("test_samples", m.facts.test_samples, kMaxSamples);
  c.at_most("memory_budget", m.facts.memory_budget, kMaxMemoryBudget);
}
void check_one(Checker& c, const message::Redeem& m) {
  c.versions(m.oldest, m.newest);
  c.text("name", m.name, kMaxNameBytes);
}
void check_one(Checker&, const message::Heartbeat&) {}
void check_one(Checker&, const message::FetchModel&) {}
void check_one(Checker& c, const message::OfferUpdate& m) {
  c.require(m.object.id == m.assignment.value, "object.id", "is not the assignment");
  check_object(c, m.object);
  c.at_most("facts.bytes", m.facts.bytes, kMaxObjectBytes);
  c.at_most("facts.samples", m.facts.samples, kMaxSamples);
  c.at_most("facts.steps", m.facts.steps, kMaxSteps);
  c.between("facts.loss", m.facts.loss, -kMaxLoss, kMaxLoss);
  c.between("facts.norm", m.facts.norm, 0, kMaxNorm);
  c.duration("facts.trained", m.facts.trained);
}
void check_one(Checker& c, const message::EvaluationDone& m) {
  c.at_most("samples", m.facts.samples, kMaxSamples);
  c.at_most("correct", m.facts.correct, m.facts.samples);
  c.between("loss_sum", m.facts.loss_sum, -kMaxLoss, kMaxLoss);
}
void check_one(Checker& c, const message::TaskFailed& m) {
  c.text("reason", m.reason, kMaxReasonBytes);
  c.require(is_found_by_client(m.refusal), "refusal", "is not for a device to say");
}
void check_one(Checker&, const message::Goodbye&) {}

void check_one(Checker& c, const message::Welcome& m) {
  c.duration("heartbeat", m.heartbeat);
  c.duration("reconnect_window", m.reconnect_window);
}
void check_one(Checker&, const message::Redeemed&) {}
void check_one(Checker& c, const message::Refused& m) {
  c.refusal(m.refusal);
  c.text("detail", m.detail, kMaxReasonBytes);
  c.duration("retry_after", m.retry_after);
}
void check_one(Checker& c, const message::Assign& m) {
  const Assignment& a = m.assignment;
  c.require(a.kind == TaskKind::kTrain || a.kind == TaskKind::kEvaluate, "kind", "is an unknown task");
  c.duration("lease", a.lease);
  c.keep(check(a.training));
  c.between("bound", a.bound, 0, kMaxUpdateBound);
  c.at_most("max_samples", a.max_samples, kMaxSamples);
  c.require(m.model_bytes > 0, "model_bytes", "is zero");
  c.at_most("model_bytes", m.model_bytes, kMaxObjectBytes);
}
void check_one(Checker& c, const message::ModelTicket& m) {
  check_ticket(c, m.ticket);
  check_object(c, m.object);
}
void check_one(Checker& c, const message::UploadTicket& m) {
  check_ticket(c, m.ticket);
  c.at_most("first_chunk", std::uint64_t{m.first_chunk}, kMaxChunks);
}
void check_one(Checker&, const message::Receipt&) {}
void check_one(Checker& c, const message::Revoke& m) { c.refusal(m.refusal); }
void check_one(Checker& c, const message::PassedOver& m) {
  c.refusal(m.refusal);
  c.text("detail", m.detail, kMaxReasonBytes);
}
void check_one(Checker& c, const message::Drain& m) { c.duration("reconnect_window", m.reconnect_window); }

Duration clamped(Duration d) { return std::clamp(d, Duration::zero(), kMaxDuration); }
double clamped(double value, double low, double high) {
  return std::isnan(value) ? high : std::clamp(value, low, high);
}

// Messages without such members fit as they are.
template <class M>
void fit_one(M&) {}
void fit_one(message::Hello& m) { m.build = one_line(m.build, kMaxBuildBytes); }
void fit_one(message::Redeem& m) { m.name = one_line(m.name, kMaxNameBytes); }
void fit_one(message::OfferUpdate& m) {
  m.facts.loss = clamped(m.facts.loss, -kMaxLoss, kMaxLoss);
  m.facts.norm = clamped(m.facts.norm, 0, kMaxNorm);
  m.facts.trained = clamped(m.facts.trained);
}
void fit_one(message::EvaluationDone& m) { m.facts.loss_sum = clamped(m.facts.loss_sum, -kMaxLoss, kMaxLoss); }
void fit_one(message::TaskFailed& m) { m.reason = one_line(m.reason, kMaxReasonBytes); }
void fit_one(message::Welcome& m) {
  m.heartbeat = clamped(m.heartbeat);
  m.reconnect_window = clamped(m.reconnect_window);
}
void fit_one(message::Refused& m) {
  m.detail = one_line(m.detail, kMaxReasonBytes);
  m.retry_after = clamped(m.retry_after);
}
void fit_one(message::Assign& m) { m.assignment.lease = clamped(m.assignment.lease); }
void fit_one(message::PassedOver& m) { m.detail = one_line(m.detail, kMaxReasonBytes); }
void fit_one(message::Drain& m) { m.reconnect_window = clamped(m.reconnect_window); }

template <class Message>
Status check_any(const Message& message) {
  Checker checker;
  std::visit([&](const auto& m) { check_one(checker, m); }, message);
  return std::move(checker).take();
}

}  // namespace

Status check(const DeviceMessage& message) { return check_any(message); }
Status check(const CoordinatorMessage& message) { return check_any(message); }

Status check(const TrainingSpec& training) {
  SHOAL_TRY(check_ranges(training, "training."));
  if (!known(training.optimizer)) return Error(ErrorCode::kInvalid, "training.optimizer is unknown");
  if (training.plan.size() > kMaxPlanBytes || !is_one_line(training.plan))
    return Error(ErrorCode::kInvalid,
                 "training.plan is not one line of at most " + std::to_string(kMaxPlanBytes) + " bytes");
  return {};
}

Status check_endpoint(std::string_view endpoint) {
  constexpr std::string_view kScheme = "tcp://";
  const auto refuse = [&](const char* why) {
    return Error(ErrorCode::kInvalid,
                 "endpoint '" + one_line(endpoint, kMaxEndpointBytes) + "' " + why + "; write tcp://HOST:PORT");
  };
  if (!endpoint.starts_with(kScheme)) return refuse("does not begin with tcp://");
  const std::string_view address = endpoint.substr(kScheme.size());
  const std::size_t colon = address.rfind(':');
  if (colon == std::string_view::npos) return refuse("has no port");

  const std::string_view port_text = address.substr(colon + 1);
  unsigned port = 0;
  const auto [end, error] = std::from_chars(port_text.data(), port_text.data() + port_text.size(), port);
  if (error != std::errc{} || end != port_text.data() + port_text.size() || port < 1 || port > 65535)
    return refuse("has a port that is not a number from 1 to 65535");

  std::string_view host = address.substr(0, colon);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  const auto allowed = [&](char c) {
    const bool letter_or_digit = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    return letter_or_digit || c == '.' || c == '-' || c == '_' || (bracketed && (c == ':' || c == '%'));
  };
  if (host.empty() || host.size() > kMaxHostBytes || !std::all_of(host.begin(), host.end(), allowed))
    return refuse("has no valid host");
  return {};
}

void fit(DeviceMessage& message) {
  std::visit([](auto& m) { fit_one(m); }, message);
}
void fit(CoordinatorMessage& message) {
  std::visit([](auto& m) { fit_one(m); }, message);
}

std::string one_line(std::string_view text, std::size_t max_bytes) {
  std::string line;
  while (!text.empty()) {
    const std::size_t n = std::max<std::size_t>(character_bytes(text), 1);
    const std::string_view character = text.substr(0, n);
    const bool valid = character_bytes(text) != 0;
    const std::string_view shown = !valid ? "?" : is_control(character) ? " " : character;
    if (line.size() + shown.size() > max_bytes) break;
    line += shown;
    text.remove_prefix(n);
  }
  return line;
}

}  // namespace shoal::protocol
