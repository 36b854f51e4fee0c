#include "client/enrolment.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <tuple>
#include <utility>

#include "base/check.h"
#include "client/file.h"
#include "protocol/durable_file.h"
#include "protocol/key_value_text.h"
#include "protocol/keys.h"
#include "protocol/limits.h"

namespace shoal::client {

namespace {

constexpr std::array<std::string_view, 5> kCoordinatorNames = {"shoal-coordinator", "coordinator", "endpoint",
                                                               "server-key", "invitation"};

Status save(const std::string& path, const std::string& text) {
  return protocol::write_file(path, text, 0600, protocol::IfExists::kReplace);
}

// nullopt when the file is not there.
Result<std::optional<std::string>> read(const std::string& path) {
  auto text = protocol::read_file(path, protocol::kMaxInvitationBytes);
  if (text.ok()) return std::optional<std::string>(std::move(*text));
  if (text.error().code() == ErrorCode::kNotFound) return std::optional<std::string>();
  return std::move(text).error();
}

std::string to_text(const Coordinator& coordinator, const protocol::PublicKey& invitation) {
  return "shoal-coordinator = 1\ncoordinator = " + coordinator.name + "\nendpoint = " + coordinator.endpoint +
         "\nserver-key = " + protocol::z85_encode(coordinator.key) +
         "\ninvitation = " + protocol::z85_encode(invitation) + "\n";
}

Result<std::pair<Coordinator, protocol::PublicKey>> parse_coordinator(std::string_view text) {
  SHOAL_TRY_ASSIGN(const auto values, protocol::parse_key_value_text(text, kCoordinatorNames));
  SHOAL_TRY_ASSIGN(const protocol::PublicKey key, protocol::parse_key(values.at("server-key")));
  SHOAL_TRY_ASSIGN(const protocol::PublicKey invitation, protocol::parse_key(values.at("invitation")));
  return std::pair(Coordinator{values.at("coordinator"), values.at("endpoint"), key}, invitation);
}

}  // namespace

Enrolment::~Enrolment() {
  if (lock_ >= 0) ::close(lock_);
}

Enrolment::Enrolment(Enrolment&& other) noexcept
    : folder_(std::move(other.folder_)),
      lock_(std::exchange(other.lock_, -1)),
      keys_(other.keys_),
      coordinator_(std::move(other.coordinator_)),
      redeemed_(other.redeemed_),
      invitation_(std::move(other.invitation_)) {}

Result<Enrolment> Enrolment::lock(const std::string& folder) {
  const std::string path = folder + "/lock";
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (descriptor < 0) {
    if (errno == ENOENT)
      return Error(ErrorCode::kNotFound,
                   "there is no state folder " + folder + "; join first: shoal-client --join FILE");
    return errno_error(errno == EACCES ? ErrorCode::kDenied : ErrorCode::kFailed, "cannot open " + path, errno);
  }
  if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
    ::close(descriptor);
    return Error(ErrorCode::kUnavailable,
                 "another shoal-client runs on " + folder + "; stop it, or give this one its own --state");
  }
  return Enrolment(folder, descriptor);
}

Status Enrolment::load() {
  SHOAL_TRY_ASSIGN(const auto coordinator, read(folder_ + "/coordinator"));
  if (coordinator) {
    auto parsed = parse_coordinator(*coordinator);
    if (!parsed.ok())
      return std::move(parsed).error().because_of_this(folder_ +
                                                       "/coordinator is damaged; join again with a new invitation");
    std::tie(coordinator_, redeemed_) = std::move(*parsed);
  }
  SHOAL_TRY_ASSIGN(const auto invitation, read(folder_ + "/invitation"));
  if (invitation) {
    SHOAL_TRY_ASSIGN(invitation_, protocol::parse_invitation(*invitation));
    coordinator_ = {invitation_->coordinator, invitation_->endpoint, invitation_->server_key};
  }
  if (!coordinator && !invitation)
    return Error(ErrorCode::kNotFound,
                 "nobody has joined in " + folder_ + " yet; join first: shoal-client --join FILE");
  SHOAL_TRY_ASSIGN(keys_, protocol::load_key_pair(folder_ + "/device.key"));
  return {};
}

Result<Enrolment> Enrolment::open(const std::string& folder) {
  SHOAL_TRY_ASSIGN(Enrolment enrolment, lock(folder));
  SHOAL_TRY(enrolment.load());
  return enrolment;
}

Result<Enrolment> Enrolment::join(const std::string& folder, const protocol::Invitation& invitation) {
  SHOAL_TRY(make_folder(folder));
  SHOAL_TRY_ASSIGN(Enrolment enrolment, lock(folder));
  if (Status before = enrolment.load(); before.ok()) {
    if (enrolment.coordinator_.key != invitation.server_key)
      return Error(ErrorCode::kInvalid, folder + " belongs to the coordinator " + enrolment.coordinator_.name +
                                            "; join another one with its own --state");
    if (enrolment.redeemed_ == invitation.key.public_key) return enrolment;
  } else if (before.error().code() != ErrorCode::kNotFound) {
    return std::move(before).error();
  }
  // The key first: an invitation on disk means that there is a key to redeem it with.
  auto keys = protocol::load_key_pair(folder + "/device.key");
  if (!keys.ok()) {
    if (keys.error().code() != ErrorCode::kNotFound) return std::move(keys).error();
    keys = protocol::make_key_pair();
    if (!keys.ok()) return std::move(keys).error();
    SHOAL_TRY(protocol::save_key_pair(folder + "/device.key", *keys));
  }
  enrolment.keys_ = *keys;
  SHOAL_TRY(save(folder + "/invitation", protocol::format_invitation(invitation)));
  enrolment.invitation_ = invitation;
  enrolment.coordinator_ = {invitation.coordinator, invitation.endpoint, invitation.server_key};
  return enrolment;
}

Status Enrolment::complete() {
  SHOAL_CHECK(invitation_.has_value(), "only an invitation is redeemed");
  redeemed_ = invitation_->key.public_key;
  SHOAL_TRY(save(folder_ + "/coordinator", to_text(coordinator_, *redeemed_)));
  SHOAL_TRY(remove_durably(folder_, "invitation"));
  invitation_.reset();
  return {};
}

}  // namespace shoal::client
