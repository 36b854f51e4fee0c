#include "cli/commands.h"

#include <cstdio>
#include <utility>

namespace shoal::cli {

CLI::App& add_command(CLI::App& parent, Context& context, const std::string& name, const std::string& about,
                      const std::string& example, std::function<Status()> action) {
  CLI::App& command = *parent.add_subcommand(name, about);
  command.footer("Example:\n  " + example);
  command.callback([&context, action = std::move(action)] { context.run = action; });
  return command;
}

void add_json_flag(CLI::App& command, Context& context) {
  command.add_flag("--json", context.json, "Print JSON for programs instead of text for people");
}

void add_socket_option(CLI::App& command, Context& context) {
  command.add_option("--socket", context.socket,
                     "The coordinator's administration socket; default $SHOAL_SOCKET, shoal-data/admin/socket here, or "
                     "/var/lib/shoal/admin/socket");
}

void print_text(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

void print_json(const nlohmann::ordered_json& value) {
  print_text(value.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
}

}  // namespace shoal::cli
