// Every bound of the protocol: what a decoder accepts, a buffer holds and a sender may send.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "base/time.h"
#include "protocol/sealed_object.h"

namespace shoal::protocol {

// ---- control messages ----

inline constexpr std::size_t kMaxControlBytes = 16 * 1024;  // one encoded message
inline constexpr int kMaxControlNesting = 8;                // structs within structs
// Cap'n Proto counts every word that is read, so that pointers which share a target cannot multiply the work.
inline constexpr std::uint64_t kMaxTraversalWords = 2 * kMaxControlBytes / 8;

// Text for people: the sender cuts it, the receiver refuses more.
inline constexpr std::size_t kMaxNameBytes = 128;     // of a device, job or coordinator
inline constexpr std::size_t kMaxBuildBytes = 128;    // of a program: version, hash, platform
inline constexpr std::size_t kMaxReasonBytes = 1024;  // why something failed or was refused

inline constexpr std::size_t kMaxHostBytes = 253;                            // the longest domain name
inline constexpr std::size_t kMaxEndpointBytes = 6 + kMaxHostBytes + 2 + 6;  // tcp://[HOST]:65535
inline constexpr std::size_t kMaxTicketBytes = 128;                          // user and secret of a ticket, each
inline constexpr std::size_t kMaxPlanBytes = 1024;

// ---- numbers ----

// Wider than any job's own limit, so that the job's refusal is the one that is given.
inline constexpr std::uint64_t kMaxSamples = std::uint64_t{1} << 40;
inline constexpr std::uint64_t kMaxSteps = std::uint64_t{1} << 40;
inline constexpr std::uint64_t kMaxMemoryBudget = std::uint64_t{1} << 50;
inline constexpr double kMaxUpdateBound = 1e6;
inline constexpr double kMaxLoss = 1e30;  // also stands for a loss that is not finite: the model has diverged
inline constexpr double kMaxNorm = 1e30;
inline constexpr Duration kMaxDuration = std::chrono::hours(24 * 3660);  // ten years

// ---- objects of the bulk plane ----

inline constexpr std::uint64_t kMaxObjectBytes = std::uint64_t{1} << 40;  // plaintext of one model or update
inline constexpr std::uint64_t kMaxChunks = kMaxObjectBytes / kChunkBytes;

// ---- files ----

inline constexpr std::size_t kMaxSafetensorsHeaderBytes = 16 * 1024 * 1024;  // the format itself allows 100 MB
inline constexpr std::size_t kMaxTensors = 100'000;
inline constexpr std::size_t kMaxTensorNameBytes = 512;
inline constexpr std::size_t kMaxTensorDimensions = 16;
inline constexpr std::size_t kMaxInvitationBytes = 4096;
inline constexpr std::size_t kMaxKeyFileBytes = 1024;

// ---- against each other ----

static_assert(kMaxControlBytes % 8 == 0, "messages are counted in words");
// As if one message carried every text there is; everything else takes less than 2 KiB.
inline constexpr std::size_t kMaxTextBytes =
    kMaxNameBytes + kMaxBuildBytes + kMaxReasonBytes + kMaxEndpointBytes + 2 * kMaxTicketBytes + kMaxPlanBytes;
static_assert(kMaxTextBytes + 2048 <= kMaxControlBytes, "every message within its limits fits");
static_assert(kMaxTraversalWords * 8 >= kMaxControlBytes, "a message at its limit can be read");
static_assert(kMaxObjectBytes % kChunkBytes == 0 && kMaxChunks <= std::numeric_limits<std::uint32_t>::max(),
              "chunk indices are 32 bits, and the nonce of a chunk is its index");
static_assert(kMaxSafetensorsHeaderBytes < 100'000'000, "what is written can be read by everyone");
static_assert(kMaxTensors * 64 <= kMaxSafetensorsHeaderBytes, "the most tensors fit in a header");
static_assert(kMaxInvitationBytes >= kMaxEndpointBytes + kMaxNameBytes + 3 * 40 + 1024, "every invitation fits");

}  // namespace shoal::protocol
