#include "client/daemon.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "protocol/wire.h"

namespace shoal::client {

using namespace std::chrono_literals;

namespace {

// Anything above this is "until something happens" for a poll.
constexpr Duration kLongestWait = std::chrono::hours(1);

std::uint64_t jitter_seed(const protocol::PublicKey& key) {
  std::uint64_t seed = 0;
  std::memcpy(&seed, key.data(), sizeof seed);
  return seed;
}

}  // namespace

void Daemon::Mailbox::post(SessionEvent event) {
  const std::lock_guard lock(mutex_);
  events_.push_back(std::move(event));
  posted_.notify_one();
  if (channel_) channel_->wake();
}

std::vector<SessionEvent> Daemon::Mailbox::take() {
  const std::lock_guard lock(mutex_);
  return std::exchange(events_, {});
}

void Daemon::Mailbox::wait(Duration timeout) {
  std::unique_lock lock(mutex_);
  posted_.wait_for(lock, timeout, [this] { return !events_.empty(); });
}

void Daemon::Mailbox::wake_also(protocol::ControlChannel* channel) {
  const std::lock_guard lock(mutex_);
  channel_ = channel;
}

Result<std::unique_ptr<Daemon>> Daemon::make(DaemonParts parts) {
  const std::string& folder = parts.enrolment.folder();
  SHOAL_TRY_ASSIGN(UpdateBox box, UpdateBox::open(folder + "/updates", *parts.log));
  SHOAL_TRY_ASSIGN(ModelCache cache, ModelCache::open(folder + "/models", parts.options.cache_quota));
  return std::unique_ptr<Daemon>(new Daemon(std::move(parts), std::move(box), std::move(cache)));
}

SessionOptions Daemon::session_options(const DaemonParts& parts, const UpdateBox& box) {
  SessionOptions options;
  options.build = parts.build;
  options.facts = parts.data.facts(parts.options.budget);
  options.unsent = box.unsent();
  options.seed = jitter_seed(parts.enrolment.keys().public_key);
  options.process = parts.process;
  if (parts.enrolment.invitation()) {
    protocol::message::Redeem redeem;
    redeem.name = parts.options.name;
    redeem.device_key = parts.enrolment.keys().public_key;
    options.redeem = redeem;
  }
  return options;
}

Daemon::Daemon(DaemonParts parts, UpdateBox box, ModelCache cache)
    : parts_(std::move(parts)), session_(session_options(parts_, box), parts_.clock->now()) {
  const ClientOptions& o = parts_.options;
  worker_ =
      std::make_unique<Worker>(WorkerParts{std::move(box), std::move(cache), std::move(parts_.bulk), &parts_.data,
                                           parts_.clock, o.trainer, o.throttle, o.memory_limit, o.budget, parts_.log},
                               [this](SessionEvent event) { mailbox_.post(std::move(event)); });
}

protocol::Refusal Daemon::run() {
  while (!exit_) {
    const Duration left = session_.next_timer() - parts_.clock->now();
    if (left <= Duration::zero()) {
      step(event::Tick{});
    } else if (auto events = mailbox_.take(); !events.empty()) {
      for (const SessionEvent& event : events) step(event);
    } else {
      listen(std::min(left, kLongestWait));
    }
  }
  close_channel();  // gives the last message time to leave
  worker_->stop();
  return *exit_;
}

void Daemon::stop() { mailbox_.post(event::ShutdownAsked{}); }

void Daemon::step(const SessionEvent& event) {
  for (SessionAction& action : session_.step(event, parts_.clock->now()))
    std::visit([this](auto& a) { carry_out(std::move(a)); }, action);
}

// Waits for one event of the channel, for the mailbox, or for the timeout.
void Daemon::listen(Duration timeout) {
  if (!channel_) {
    mailbox_.wait(timeout);
    return;
  }
  auto heard = channel_->poll(timeout);
  if (!heard) return;
  if (std::holds_alternative<protocol::Connected>(*heard)) {
    step(event::Connected{});
  } else if (auto* ended = std::get_if<protocol::Disconnected>(&*heard)) {
    close_channel();
    step(event::Disconnected{ended->denied, std::move(ended->reason)});
  } else {
    auto message = protocol::decode_coordinator(std::get<std::vector<std::byte>>(*heard));
    if (message.ok()) {
      step(event::Received{std::move(*message)});
    } else {
      close_channel();
      step(event::Disconnected{false, "the coordinator sent what cannot be read: " + message.error().to_string()});
    }
  }
}

void Daemon::close_channel() {
  mailbox_.wake_also(nullptr);
  channel_.reset();
}

void Daemon::carry_out(const action::Connect& a) {
  close_channel();
  const Coordinator& coordinator = parts_.enrolment.coordinator();
  const auto& invitation = parts_.enrolment.invitation();
  const std::string& endpoint = parts_.options.endpoint.empty() ? coordinator.endpoint : parts_.options.endpoint;
  auto channel = parts_.dial(endpoint, coordinator.key,
                             a.with_invitation && invitation ? invitation->key : parts_.enrolment.keys());
  if (!channel.ok()) {
    mailbox_.post(event::Disconnected{false, channel.error().to_string()});
    return;
  }
  channel_ = std::move(*channel);
  mailbox_.wake_also(channel_.get());
  parts_.log->debug("connecting to " + endpoint);
}

void Daemon::carry_out(const action::Disconnect&) { close_channel(); }

void Daemon::carry_out(const action::Send& a) {
  if (channel_) channel_->send(protocol::encode(a.message));
}

void Daemon::carry_out(const action::Enrolled&) {
  // Redeeming again with the same key succeeds, so a failure here costs nothing but a line.
  if (Status kept = parts_.enrolment.complete(); !kept.ok()) parts_.log->warn(kept.error().to_string());
}

void Daemon::carry_out(const action::CancelWork& a) { worker_->cancel(a.work); }

void Daemon::carry_out(const action::Exit& a) { exit_ = a.refusal; }

void Daemon::carry_out(const action::Log& a) { parts_.log->write(a.level, a.text); }

}  // namespace shoal::client
