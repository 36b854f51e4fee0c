// Writes the first inputs of the fuzz targets: make_seeds tests/fuzz/corpus. The wire's are its golden files, too.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "base/archive.h"
#include "client/session.h"
#include "coordinator/extent_header.h"
#include "coordinator/machine.h"
#include "coordinator/store.h"
#include "protocol/bulk_frame.h"
#include "protocol/durable_file.h"
#include "protocol/invitation.h"
#include "protocol/keys.h"
#include "protocol/safetensors.h"
#include "protocol/sha256.h"
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
      {"done", {kDone, 12, 0, 0}}, {"failed", {kFailed, 2, 0, 9}}, {"put_with_ticket", {kPut, 0, 0, 97}},
  };
  for (const auto& [name, frame] : frames) corpus.add(name, std::span<const std::byte>(protocol::encode(frame)));
}

void make_bulk_tickets(const Corpus& corpus) {
  const std::string user(32, 'a'), secret(64, '5'), longest(protocol::kMaxTicketBytes, 'x');
  corpus.add("issued", encode(protocol::BulkTicket{user, secret}));
  corpus.add("longest", encode(protocol::BulkTicket{longest, longest}));
  corpus.add("without_secret", std::string(1, '\x20') + user);
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

void make_extent_headers(const Corpus& corpus) {
  using namespace coordinator;
  ExtentRecord record;
  record.id = AssignmentId{9};
  record.object.id = 9;
  record.object.bytes = 4000;
  for (const std::uint64_t segment : {3, 4}) {  // the target's place, and another
    const Block block = seal_header(record, 5, protocol::ObjectKey{7}, {segment, 4096});
    const auto zeros = std::find_if(block.rbegin(), block.rend(), [](std::byte b) { return b != std::byte{0}; });
    corpus.add(segment == 3 ? "sealed" : "elsewhere",
               std::span(block).first(static_cast<std::size_t>(block.rend() - zeros)));
  }
}

// Slots and records as coordinator/rocksdb/write_log.cpp makes them.
void make_write_logs(const Corpus& corpus) {
  const auto bytes = [](std::uint64_t number) {
    return std::string(reinterpret_cast<const char*>(&number), sizeof number);
  };
  const auto sum = [](const std::string& text) {
    const Digest digest = protocol::sha256(std::as_bytes(std::span(text)));
    return std::string(reinterpret_cast<const char*>(digest.bytes.data()), digest.bytes.size());
  };
  const auto slot = [&](std::uint64_t number, std::uint64_t epoch) {
    return bytes(number) + bytes(epoch) + sum("slot" + bytes(number) + bytes(epoch));
  };
  const auto record = [&](std::uint64_t epoch, std::uint64_t offset, const std::string& payload) {
    return bytes(payload.size()).substr(0, 4) + bytes(epoch) + sum(bytes(epoch) + bytes(offset) + payload) + payload;
  };
  const std::string slots = slot(2, 77) + slot(1, 66), first = record(77, 8192, "first");
  const std::string second = record(77, 8192 + first.size(), "second");
  corpus.add("empty", slots);
  corpus.add("two_records", slots + first + second);
  corpus.add("damaged_first", slots + std::string(first.size(), 'x') + second);
  corpus.add("torn_slot", slot(2, 77) + std::string(48, 'x') + first + second);
}

void make_snapshots(const Corpus& corpus) {
  using namespace coordinator;
  corpus.add("empty", Machine().save());
  for (const auto& [policy, name] : enum_names(PolicyKind{})) {
    JobSpec spec;
    spec.policy = policy;
    spec.fedavg.cohort = 2;
    spec.fedbuff.buffer = 1;
    spec.fedcompass.devices = 2;
    spec.evaluation.every = 1;
    Machine machine;
    const auto step = [&](const Event& event) { machine.step(event, Time{}); };
    for (std::uint64_t d = 1; d <= 3; ++d) step(event::DeviceReady{{d}, {100, 20, 0}});
    step(event::JobSubmitted{{1}, spec});
    for (std::uint64_t d = 1; d <= 3; ++d)
      if (const auto work = machine.assignment_of({d}, Time{})) {
        protocol::UpdateFacts facts;
        facts.digest.bytes[0] = 1;
        facts.samples = facts.steps = 1;
        step(event::UpdateReceived{{d}, work->id, facts});
        break;
      }
    for (std::uint64_t d = 1; d <= 3; ++d)
      if (const auto work = machine.assignment_of({d}, Time{})) {
        step(event::AssignmentFailed{{d}, work->id, {}, "no"});
        break;
      }
    corpus.add(std::string(name), machine.save());
  }
}

void make_data_sets(const Corpus& corpus) {
  corpus.add("pixels", with_length(R"({"x":{"dtype":"U8","shape":[2,1,2,2],"data_offsets":[16,24]},)"
                                   R"("y":{"dtype":"I64","shape":[2],"data_offsets":[0,16]}})") +
                           std::string("\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0", 16) + "abcdefgh");
  corpus.add("floats", with_length(R"({"x":{"dtype":"F32","shape":[2,1],"data_offsets":[16,24]},)"
                                   R"("y":{"dtype":"I32","shape":[2],"data_offsets":[0,8]},)"
                                   R"("groups":{"dtype":"I32","shape":[2],"data_offsets":[8,16]}})") +
                           std::string("\0\0\0\0\1\0\0\0", 8) + std::string(16, '\0'));
  corpus.add("short_labels", with_length(R"({"x":{"dtype":"U8","shape":[2,3],"data_offsets":[8,14]},)"
                                         R"("y":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}})") +
                                 std::string(14, '\0'));
  corpus.add("label_below_zero", with_length(R"({"x":{"dtype":"U8","shape":[1,3],"data_offsets":[8,11]},)"
                                             R"("y":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}})") +
                                     std::string(11, '\xff'));
}

void make_update_records(const Corpus& corpus) {
  client::UnsentUpdate update;
  update.assignment = AssignmentId{9};
  update.facts = {.digest = {}, .bytes = 40, .samples = 600, .steps = 60, .loss = 0.5};
  update.object.id = 9;
  update.object.bytes = 40;
  corpus.add("one", encode_state(update));
  update.object.bytes = ~std::uint64_t{0};
  corpus.add("endless", encode_state(update));
}

void make_admin_requests(const Corpus& corpus) {
  const std::pair<const char*, const char*> requests[] = {
      {"status", R"({"op":"status"})"},
      {"invite", R"({"op":"device.invite","args":{"count":2,"valid_seconds":60}})"},
      {"device_show", R"({"op":"device.show","args":{"device":1}})"},
      {"device_list", R"({"op":"device.list","args":{}})"},
      {"job_list", R"({"op":"job.list"})"},
      {"job_show", R"({"op":"job.show","args":{"job":"mnist"}})"},
      {"job_stop", R"({"op":"job.stop","args":{"job":7}})"},
      {"job_follow", R"({"op":"job.follow","args":{"job":7,"after":3,"wait_seconds":1}})"},
      {"job_submit", R"({"op":"job.submit","args":{"spec":"rounds = 2","model":"model.safetensors","token":"t"}})"},
      {"job_export", R"({"op":"job.export","args":{"job":7,"path":"model.safetensors"}})"},
      {"no_operation", R"({"args":[1,2,{"a":null}]})"},
  };
  for (const auto& [name, text] : requests) corpus.add(name, std::string_view(text));
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
  make_bulk_tickets(Corpus(root, "bulk_ticket"));
  make_journal(Corpus(root, "journal_record"));
  make_extent_headers(Corpus(root, "extent_header"));
  make_write_logs(Corpus(root, "write_log"));
  make_snapshots(Corpus(root, "machine_snapshot"));
  make_data_sets(Corpus(root, "safetensors_data"));
  make_update_records(Corpus(root, "update_record"));
  make_admin_requests(Corpus(root, "admin_request"));
}
