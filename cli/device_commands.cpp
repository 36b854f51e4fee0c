// `shoal device ...`: inviting machines, and saying who may take part.
#include <ctime>
#include <filesystem>
#include <memory>

#include "base/units.h"
#include "cli/admin_client.h"
#include "cli/commands.h"
#include "cli/table.h"
#include "protocol/durable_file.h"

namespace shoal::cli {
namespace {

using Json = nlohmann::json;

Result<AdminClient> coordinator(const Context& context) {
  return AdminClient::connect(context.socket.empty() ? default_admin_socket() : context.socket);
}

std::string date(std::int64_t unix_seconds) {
  const std::time_t time = unix_seconds;
  std::tm parts{};
  ::localtime_r(&time, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M", &parts);
  return text;
}

std::string painted_standing(const Json& device, const Terminal& terminal) {
  const auto standing = device.value("standing", "?");
  const Color color = standing == "approved" ? Color::kGreen : standing == "pending" ? Color::kYellow : Color::kRed;
  return paint(standing, color, terminal);
}

std::string refusal_text(const Json& device) {
  const auto refusal = device.find("last_refusal");
  if (refusal == device.end() || !refusal->is_object()) return "-";
  return refusal->value("reason", "?") + " at " + date(refusal->value("at", std::int64_t{0}));
}

struct InviteOptions {
  std::uint64_t count = 1;
  std::string valid = "1d";
  std::string folder;
};

Status invite(const Context& context, const InviteOptions& options) {
  SHOAL_TRY_ASSIGN(const Duration valid, parse_duration(options.valid));
  if (options.count > 1 && options.folder.empty() && !context.json)
    return Error(ErrorCode::kInvalid, "several invitations need --out FOLDER, a file for each (or --json)");
  SHOAL_TRY_ASSIGN(AdminClient client, coordinator(context));
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(valid).count();
  SHOAL_TRY_ASSIGN(const Json data,
                   client.call("device.invite", {{"count", options.count}, {"valid_seconds", seconds}}));
  if (options.folder.empty()) {
    if (context.json) return print_json(data), Status{};
    for (const Json& text : data.at("invitations")) print_text(text.get<std::string>());
    return {};
  }
  std::error_code error;
  std::filesystem::create_directories(options.folder, error);
  if (error) return Error(ErrorCode::kInvalid, "cannot make the folder " + options.folder + ": " + error.message());
  Json files = Json::array();
  for (const Json& text : data.at("invitations")) {
    const std::string path = options.folder + "/invitation-" + std::to_string(files.size() + 1);
    // An invitation is a secret; one that lies there already may be another device's.
    SHOAL_TRY(protocol::write_file(path, text.get<std::string>(), 0600, protocol::IfExists::kRefuse));
    files.push_back(path);
  }
  if (context.json) {
    print_json({{"files", files}});
  } else {
    print_text("wrote " + std::to_string(files.size()) + " invitations to " + options.folder + ", valid for " +
               options.valid + "\neach admits one device, once: shoal-client --join FILE\n");
  }
  return {};
}

Status list(const Context& context) {
  SHOAL_TRY_ASSIGN(AdminClient client, coordinator(context));
  SHOAL_TRY_ASSIGN(const Json data, client.call("device.list"));
  if (context.json) return print_json(data), Status{};
  Table table({{"DEVICE", Align::kRight},
               {"NAME"},
               {"STANDING"},
               {"ONLINE"},
               {"SAMPLES", Align::kRight},
               {"UP", Align::kRight},
               {"DOWN", Align::kRight},
               {"WORKS ON", Align::kRight},
               {"LAST REFUSAL"}});
  for (const Json& d : data.at("devices")) {
    const auto work = d.value("assignment", std::uint64_t{0});
    table.add({std::to_string(d.value("id", std::uint64_t{0})), d.value("name", ""),
               painted_standing(d, context.terminal),
               d.value("online", false) ? paint("yes", Color::kGreen, context.terminal) : "no",
               std::to_string(d.value("train_samples", std::uint64_t{0})),
               human_bytes(d.value("bytes_up", std::uint64_t{0})), human_bytes(d.value("bytes_down", std::uint64_t{0})),
               work == 0 ? "-" : std::to_string(work), refusal_text(d)});
  }
  print_text(table.empty() ? "no devices yet; make invitations with: shoal device invite\n"
                           : table.render(context.terminal));
  return {};
}

void print_device(const Context& context, const Json& d) {
  if (context.json) return print_json(d);
  const auto work = d.value("assignment", std::uint64_t{0}), budget = d.value("memory_budget", std::uint64_t{0});
  std::string refusal = refusal_text(d);
  if (d.contains("last_refusal") && d["last_refusal"].is_object() && !d["last_refusal"].value("detail", "").empty())
    refusal += ": " + d["last_refusal"].value("detail", "");
  const std::string moved = human_bytes(d.value("bytes_up", std::uint64_t{0})) + " up, " +
                            human_bytes(d.value("bytes_down", std::uint64_t{0})) +
                            " down since the coordinator started";
  print_text(render_facts({{"device", std::to_string(d.value("id", std::uint64_t{0}))},
                           {"name", d.value("name", "")},
                           {"standing", painted_standing(d, context.terminal)},
                           {"online", d.value("online", false) ? "yes" : "no"},
                           {"enrolled", date(d.value("enrolled_at", std::int64_t{0}))},
                           {"key", d.value("key", "")},
                           {"samples", std::to_string(d.value("train_samples", std::uint64_t{0}))},
                           {"budget", budget == 0 ? "not stated" : human_bytes(budget)},
                           {"moved", moved},
                           {"works on", work == 0 ? "nothing" : "assignment " + std::to_string(work)},
                           {"last refusal", refusal}},
                          context.terminal));
}

Status one(const Context& context, const std::string& op, std::uint64_t id) {
  SHOAL_TRY_ASSIGN(AdminClient client, coordinator(context));
  SHOAL_TRY_ASSIGN(const Json data, client.call(op, {{"id", id}}));
  print_device(context, data);
  return {};
}

}  // namespace

void add_device_commands(CLI::App& app, Context& context) {
  CLI::App& group = *app.add_subcommand("device", "Invite devices and say who may take part");
  group.require_subcommand(1);

  auto options = std::make_shared<InviteOptions>();
  CLI::App& inviting =
      add_command(group, context, "invite", "Make one-time invitations for new devices",
                  "shoal device invite > board-7.invitation\n  shoal device invite --count 20 --out invitations",
                  [&context, options] { return invite(context, *options); });
  inviting.add_option("--count", options->count, "How many")->check(CLI::Range(1, 10000));
  inviting.add_option("--valid", options->valid, "How long each may be redeemed, as in 12h or 7d")
      ->capture_default_str();
  inviting.add_option("--out", options->folder,
                      "Folder for invitation-1, invitation-2, ...; without it one is printed");
  add_json_flag(inviting, context);
  add_socket_option(inviting, context);

  CLI::App& listing =
      add_command(group, context, "list", "All devices", "shoal device list", [&context] { return list(context); });
  add_json_flag(listing, context);
  add_socket_option(listing, context);

  struct Verb {
    const char *name, *about;
  };
  for (const Verb& verb : {Verb{"show", "One device, ending with its last refusal"},
                           Verb{"approve", "Let a device in that redeemed an invitation and waits"},
                           Verb{"revoke", "Shut a device out: its work is void and its key is refused"}}) {
    auto id = std::make_shared<std::uint64_t>(0);
    const std::string name = verb.name;
    CLI::App& command = add_command(group, context, name, verb.about, "shoal device " + name + " 7",
                                    [&context, id, name] { return one(context, "device." + name, *id); });
    command.add_option("DEVICE", *id, "The device's number in `shoal device list`")->required();
    add_json_flag(command, context);
    add_socket_option(command, context);
  }
}

}  // namespace shoal::cli
