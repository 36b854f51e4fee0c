// The subcommands of `shoal`, one function and one file for each group.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "base/result.h"
#include "cli/terminal.h"

namespace shoal::cli {

// What all subcommands share. Parsing fills it; the chosen subcommand leaves what is to be done in `run`. Outlives the
// app.
struct Context {
  std::string socket;  // of the coordinator; empty: default_admin_socket()
  bool json = false;
  Terminal terminal;  // of standard output
  std::function<Status()> run;
};

void add_status_command(CLI::App& app, Context& context);
void add_device_commands(CLI::App& app, Context& context);
void add_job_commands(CLI::App& app, Context& context);
void add_model_commands(CLI::App& app, Context& context);
// `shoal model profile`, part of the group of model commands.
void add_model_profile(CLI::App& group, Context& context);
// `shoal model plan`, likewise.
void add_model_plan(CLI::App& group, Context& context);
void add_data_commands(CLI::App& app, Context& context);
void add_report_command(CLI::App& app, Context& context);

// A subcommand with an example in its help; `action` runs when it was chosen.
CLI::App& add_command(CLI::App& parent, Context& context, const std::string& name, const std::string& about,
                      const std::string& example, std::function<Status()> action);
// --json, for commands that print results.
void add_json_flag(CLI::App& command, Context& context);
// --socket, for commands that talk to a coordinator.
void add_socket_option(CLI::App& command, Context& context);

// Standard output, whole lines.
void print_text(const std::string& text);
void print_json(const nlohmann::ordered_json& value);

}  // namespace shoal::cli
