// `shoal status`: one look at a running coordinator.
#include "cli/admin_client.h"
#include "cli/commands.h"
#include "cli/table.h"

namespace shoal::cli {
namespace {

Status status(const Context& context) {
  SHOAL_TRY_ASSIGN(AdminClient client,
                   AdminClient::connect(context.socket.empty() ? default_admin_socket() : context.socket));
  SHOAL_TRY_ASSIGN(const nlohmann::json s, client.call("status"));
  if (context.json) return print_json(s), Status{};
  const auto count = [&](const char* name) { return std::to_string(s.value(name, std::uint64_t{0})); };
  std::string state = paint("serving", Color::kGreen, context.terminal);
  if (s.value("storage_full", false)) state = paint("disk full, accepts nothing new", Color::kRed, context.terminal);
  if (s.value("draining", false)) state = paint("stopping", Color::kYellow, context.terminal);
  print_text(render_facts({{"coordinator", s.value("name", "")},
                           {"version", s.value("version", "") + " (" + s.value("build", "") + ")"},
                           {"state", state},
                           {"devices", count("devices_online") + " online of " + count("devices")},
                           {"invitations", count("open_invitations") + " open"},
                           {"jobs", count("jobs")}},
                          context.terminal));
  return {};
}

}  // namespace

void add_status_command(CLI::App& app, Context& context) {
  CLI::App& command = add_command(app, context, "status", "How a coordinator is doing", "shoal status --json",
                                  [&context] { return status(context); });
  add_json_flag(command, context);
  add_socket_option(command, context);
}

}  // namespace shoal::cli
