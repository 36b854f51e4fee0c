// Why somebody was told no. One enum for client log, coordinator log, metrics, wire and simulator.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace shoal::protocol {

// Values are permanent: they are on the wire and in journals.
enum class Refusal : std::uint8_t {
  kNone = 0,
  // joining
  kUnknownKey = 1,
  kRevoked = 2,
  kInvitationExpired = 3,
  kInvitationUsed = 4,
  kAwaitingApproval = 5,
  kClientTooOld = 6,
  kCoordinatorTooOld = 7,
  kReplacedSession = 8,
  kMalformed = 9,
  // updates
  kLate = 20,
  kReplayed = 21,
  kConflict = 22,
  kWrongShape = 23,
  kNotFinite = 24,
  kOutOfBound = 25,
  kSampleCount = 26,
  kTooLarge = 27,
  kUnsealable = 28,
  kTooStale = 29,
  // work
  kRoundAbandoned = 40,
  kLeaseExpired = 41,
  kJobEnded = 42,
  kStorageFull = 43,
  kBudgetTooSmall = 44,
  kBusy = 45,
  kTaskFailed = 46,
};

struct RefusalText {
  Refusal refusal;
  std::string_view name;      // in metrics, JSON and logs
  std::string_view sentence;  // what it means and what to do, for a person
};

inline constexpr std::array kRefusalTexts = {
    RefusalText{Refusal::kNone, "none", "accepted"},
    RefusalText{Refusal::kUnknownKey, "unknown-key",
                "this device's key is not enrolled; redeem an invitation with --join"},
    RefusalText{Refusal::kRevoked, "revoked",
                "this device was revoked by the operator; join with a new invitation and another --state folder"},
    RefusalText{Refusal::kInvitationExpired, "invitation-expired", "the invitation has expired; ask for a new one"},
    RefusalText{Refusal::kInvitationUsed, "invitation-used",
                "the invitation was redeemed by another device; ask for a new one"},
    RefusalText{Refusal::kAwaitingApproval, "awaiting-approval",
                "the operator has not approved this device yet; it will be let in when they do"},
    RefusalText{Refusal::kClientTooOld, "client-too-old",
                "this client is older than the coordinator supports; upgrade it"},
    RefusalText{Refusal::kCoordinatorTooOld, "coordinator-too-old",
                "the coordinator is older than this client supports; upgrade the coordinator or use an older client"},
    RefusalText{Refusal::kReplacedSession, "replaced-session", "a newer session with the same key took over"},
    RefusalText{Refusal::kMalformed, "malformed", "the message could not be read within its limits"},
    RefusalText{Refusal::kLate, "late", "the round had closed before the update arrived"},
    RefusalText{Refusal::kReplayed, "replayed", "the assignment is closed or belongs to another device"},
    RefusalText{Refusal::kConflict, "conflict",
                "another update with other content was already received for the assignment"},
    RefusalText{Refusal::kWrongShape, "wrong-shape", "the update does not have the model's layout"},
    RefusalText{Refusal::kNotFinite, "not-finite", "the update holds NaN or infinite values; lower the learning rate"},
    RefusalText{Refusal::kOutOfBound, "out-of-bound", "a value of the update exceeds the job's announced bound"},
    RefusalText{Refusal::kSampleCount, "sample-count",
                "the sample count is zero or exceeds the job's announced maximum"},
    RefusalText{Refusal::kTooLarge, "too-large", "the update is larger than the assignment allows"},
    RefusalText{Refusal::kUnsealable, "unsealable", "a chunk does not open with the key that was announced"},
    RefusalText{Refusal::kTooStale, "too-stale", "the update's base model is older than the job's staleness bound"},
    RefusalText{Refusal::kRoundAbandoned, "round-abandoned",
                "the round was abandoned; the work is not needed any more"},
    RefusalText{Refusal::kLeaseExpired, "lease-expired", "the assignment's time ran out"},
    RefusalText{Refusal::kJobEnded, "job-ended", "the job has ended"},
    RefusalText{Refusal::kStorageFull, "storage-full",
                "the coordinator's disk is full; the update is kept and offered again"},
    RefusalText{Refusal::kBudgetTooSmall, "budget-too-small", "no plan of the job fits this device's memory budget"},
    RefusalText{Refusal::kBusy, "busy", "the coordinator is at its limit; try again after the time it names"},
    RefusalText{Refusal::kTaskFailed, "task-failed", "the device could not do the work; its own log says why"},
};

constexpr const RefusalText& text_of(Refusal refusal) {
  for (const RefusalText& t : kRefusalTexts)
    if (t.refusal == refusal) return t;
  return kRefusalTexts[0];
}

// What a client finds by itself, before it has sent anything.
constexpr bool is_found_by_client(Refusal refusal) {
  return refusal == Refusal::kNotFinite || refusal == Refusal::kOutOfBound || refusal == Refusal::kBudgetTooSmall ||
         refusal == Refusal::kTaskFailed;
}

}  // namespace shoal::protocol
