// shoal: the command line for jobs, devices, models, data and reports.
#include <unistd.h>

#include <CLI/CLI.hpp>

#include "cli/commands.h"
#include "cli/program.h"

int main(int argc, char** argv) {
  using namespace shoal::cli;
  CLI::App app("Federated learning for fleets of small devices: the command line.");
  app.footer(
      "Example:\n"
      "  shoal model init --arch 2nn --input 1x28x28 --classes 10 model.safetensors\n"
      "  shoal device invite --count 4 --out invitations\n"
      "  shoal job submit job.toml --follow\n\n"
      "Exit codes: 0 ok, 1 the job or run failed, 2 usage or configuration, 3 cannot connect or not allowed,\n"
      "4 timed out, 5 not found, 70 a bug.");
  app.require_subcommand(1);
  Context context;
  context.terminal = terminal_of(STDOUT_FILENO);
  add_status_command(app, context);
  add_job_commands(app, context);
  add_device_commands(app, context);
  add_model_commands(app, context);
  add_data_commands(app, context);
  add_report_command(app, context);
  return run_program("shoal", app, argc, argv, [&] { return context.run(); });
}
