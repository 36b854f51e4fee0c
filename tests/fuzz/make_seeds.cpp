// Writes the first inputs of the fuzz targets: make_seeds tests/fuzz/corpus. The wire's are its golden files, too.
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "base/archive.h"
#include "coordinator/store.h"
#include "protocol/bulk_frame.h"
#include "protocol/durable_file.h"
#include "protocol/invitation.h"
#include "protocol/keys.h"
#include "protocol/safetensors.h"
#include "protocol/wire.h"
#include "tests/protocol/sample_messages.h"

namespace shoal {
namespace {

class Corpus {
 public:
  Corpus(const std::filesystem::path& root, const char* target) : folder_(root / target) {
    std::filesystem::create_directories(folder_);
  }
  void add(const std::string& name, std::string_view content) const {
    protocol::write_file((folder_ / name).string(), content, 0644, protocol::IfExists::kReplace).value();
  }
  void add(const std::string& name, std::span<const std::byte> content) const {
    add(name, std::string_view(reinterpret_cast<const char*>(content.data()), content.size()));
  }

 private:
  std::filesystem::path folder_;
};

// As the target wants it: the header, and the file's size in the last 8 bytes.
std::string sized(std::string header, std::uint64_t data_bytes) {
  const std::uint64_t size = header.size() + data_bytes;
  return header.append(reinterpret_cast<const char*>(&size), sizeof size);
}

std::string with_length(const std::string& json) {
  const std::uint64_t length = json.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + json;
}

void make_safetensors(const Corpus& corpus) {
  const TensorLayout mlp = TensorLayout::make({{"fc1.weight", {4, 3}, "backbone"},
                                               {"fc1.bias", {4}, "bias"},
                                               {"scale", {}, "norm"},
                                               {"fc2.weight", {2, 4}, "head"},
                                               {"fc2.bias", {2}, "head"}})
                               .value();
  corpus.add("model",
             sized(protocol::make_header(mlp, {{"shoal.model", "{\"kind\":\"mlp\"}"}}).value(), mlp.total() * 4));
  corpus.add("no_tensors", sized(protocol::make_header({}, {}).value(), 0));
  corpus.add(
      "data_set",
      sized(with_length(R"({"__metadata__":{"format":"pt"},"x":{"dtype":"U8","shape":[2,3],"data_offsets":[16,22]},)"
                        R"("y":{"dtype":"I64","shape":[2],"data_offsets":[0,16]}})"),
            22));
  corpus.add("without_groups", sized(with_length(R"({"fc.weight":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},)"
                                                 R"("fc.bias":{"dtype":"F32","shape":[2],"data_offsets":[16,24]}})"),
                                     24));
  corpus.add("empty_tensor", sized(with_length(R"({"e":{"dtype":"BF16","shape":[0,7],"data_offsets":[0,0]}})"), 0));
}

void make_invitations(const Corpus& corpus) {
  protocol::SecretKey secret{1, 2, 3};
  const protocol::KeyPair key{protocol::public_key_of(secret).value(), secret};
  const std::string text =
      protocol::format_invitation({"Fleet", "tcp://fleet.example:7700",
                                   protocol::public_key_of(protocol::SecretKey{9}).value(), key, 1'790'000'000});
  corpus.add("good", text);
  corpus.add("next_format", "shoal-invitation = 2\n" + text);
  corpus.add("without_keys", text.substr(0, text.find("server-key")));
}

void make_bulk_frames(const Corpus& corpus) {
  using enum protocol::BulkKind;
  const std::pair<const char*, protocol::BulkFrame> frames[] = {
      {"put", {kPut, 0, 0, 0}},    {"ack", {kAck, 7, 4, 0}},       {"chunk", {kChunk, 7, 0, 1016}},
      {"done", {kDone, 12, 0, 0}}, {"failed", {kFailed, 2, 0, 9}},
  };
  for (const auto& [name, frame] : frames) corpus.add(name, std::span<const std::byte>(protocol::encode(frame)));
}

void make_journal(const Corpus& corpus) {
  using namespace coordinator;
  const std::pair<const char*, Event> events[] = {
      {"job_submitted", event::JobSubmitted{{1}, JobSpec{}}},
      {"job_stop_requested", event::JobStopRequested{{1}}},
      {"device_ready", event::DeviceReady{{2}, {600, 100, 1 << 27}}},
      {"device_lost", event::DeviceLost{{2}, true}},
      {"update_received",
       event::UpdateReceived{{2}, {3}, {.digest = {}, .bytes = 40, .samples = 600, .steps = 60, .loss = 0.5}}},
      {"evaluation_received", event::EvaluationReceived{{2}, {4}, {100, 90, 31.5}}},
      {"assignment_failed", event::AssignmentFailed{{2}, {3}, protocol::Refusal::kNone, "cannot read data/train.csv"}},
      {"committed", event::Committed{{1}, 7, {}, 0.25}},
      {"storage_changed", event::StorageChanged{true}},
      {"tick", event::Tick{}},
  };
  std::uint64_t sequence = 0;
  for (const auto& [name, event] : events)
    corpus.add(name, encode_state(JournalRecord{++sequence, Time(std::chrono::seconds(sequence)), event, 0xabcdef}));
}

}  // namespace
}  // namespace shoal

int main(int argc, char** argv) {
  using namespace shoal;
  if (argc != 2) {
    std::fprintf(stderr, "usage: make_seeds FOLDER, for example make_seeds tests/fuzz/corpus\n");
    return 2;
  }
  const std::filesystem::path root = argv[1];
  const Corpus device(root, "wire_device"), coordinator(root, "wire_coordinator");
  for (const auto& [name, message] : protocol::sample_device_messages()) device.add(name, protocol::encode(message));
  for (const auto& [name, message] : protocol::sample_coordinator_messages())
    coordinator.add(name, protocol::encode(message));
  make_safetensors(Corpus(root, "safetensors_header"));
  make_invitations(Corpus(root, "invitation"));
  make_bulk_frames(Corpus(root, "bulk_frame"));
  make_journal(Corpus(root, "journal_record"));
}
