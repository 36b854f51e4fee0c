#include "simulator/replay.h"

#include <array>
#include <utility>

#include "coordinator/durable_machine.h"

namespace shoal::simulator {

std::string_view kind_of(const coordinator::Event& event) {
  constexpr std::array<std::string_view, 11> kKinds{"JobSubmitted",
                                                    "JobStopRequested",
                                                    "DeviceReady",
                                                    "DeviceLost",
                                                    "UpdateReceived",
                                                    "EvaluationReceived",
                                                    "AssignmentFailed",
                                                    "Committed",
                                                    "FoldFailed",
                                                    "StorageChanged",
                                                    "Tick"};
  static_assert(kKinds.size() == std::variant_size_v<coordinator::Event>);
  return kKinds[event.index()];
}

Status Replay::begin(std::string_view snapshot, std::uint64_t sequence) {
  sequence_ = sequence;
  if (snapshot.empty()) return {};
  auto machine = coordinator::Machine::load(snapshot);
  if (!machine.ok())
    return std::move(machine).error().because_of_this("cannot begin the replay at event " + std::to_string(sequence));
  machine_ = *std::move(machine);
  return {};
}

Status Replay::step(const coordinator::JournalRecord& record) {
  if (difference_) return {};
  if (record.sequence != sequence_ + 1)
    return Error(ErrorCode::kCorrupt, "the journal goes from event " + std::to_string(sequence_) + " to " +
                                          std::to_string(record.sequence) + ": some are missing");
  sequence_ = record.sequence;
  ++events_;
  const std::uint64_t replayed = coordinator::hash_of(machine_.step(record.event, record.now));
  if (replayed != record.actions)
    difference_ = {record.sequence, record.now, std::string(kind_of(record.event)), record.actions, replayed};
  return {};
}

}  // namespace shoal::simulator
