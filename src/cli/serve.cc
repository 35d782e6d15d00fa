// ecluse serve: opens the doors.
#include <cstdio>
#include <memory>

#include "base/log.h"
#include "cli/commands.h"
#include "server/gate.h"

namespace ecluse {
namespace {

int Serve(const GateOptions& options) {
  Result<std::unique_ptr<Gate>> gate = Gate::Open(options);
  if (!gate) return Complain("serve", gate.error());
  std::printf("ready sql=%s\n", (*gate)->sql_address().c_str());
  std::fflush(stdout);
  Status ran = (*gate)->Run();
  return ran ? 0 : Complain("serve", ran.error());
}

}  // namespace

void AddServe(CommandLine& line) {
  auto options = std::make_shared<GateOptions>();
  CLI::App* command = line.app.add_subcommand("serve", "Opens the doors and guards the register");
  command->add_option("--config", options->config, "The policy file")->capture_default_str();
  command->add_option("--threads", options->threads, "io threads; 0 for one on each processor")
      ->capture_default_str()
      ->check(CLI::Range(0, 256));
  command->add_option("--node", options->node,
                      "The gate's name in its ledger, kept for the life of the ledger; the machine's name by default");
  command->footer(
      "Prints `ready sql=HOST:PORT` when it is open; logs to standard error. SIGHUP takes a new policy, SIGTERM\n"
      "lets transactions end and stops.\n\nExample: ecluse serve --config /etc/ecluse/ecluse.yaml --node gate-1");
  command->callback([options, &line] { line.exit_status = Serve(*options); });
}

}  // namespace ecluse
