// ecluse erase: a person's key is destroyed, and with it what only it opens.
#include <cstdio>
#include <memory>

#include "base/limits.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/running_gate.h"
#include "ledger/ledger.h"

namespace ecluse {
namespace {

struct EraseCommand {
  std::string config = "ecluse.yaml";
  std::string subject, reason;
};

Result<std::string> Erase(const EraseCommand& command, const Policy& policy) {
  ECLUSE_OK(CheckGateUser(policy));
  ECLUSE_TRY(auto done,
             AskIfRunning(policy, {{"command", "erase"}, {"subject", command.subject}, {"reason", command.reason}}));
  if (done) return *std::move(done);
  ECLUSE_TRY(auto keys, KeyRing::Open(policy.root, policy.data_dir));
  LedgerOptions options;
  options.data_dir = policy.data_dir;
  options.register_name = policy.register_name;
  return Ledger::EraseAlone(std::move(options), *keys, command.subject, policy.erasure_horizon, policy.digest,
                            command.reason);
}

int Run(const EraseCommand& command) {
  auto policy = PolicyOf(command.config);
  if (!policy) return 2;
  auto done = Erase(command, *policy);
  if (!done) return Complain("erase", done.error());
  std::printf("%s: %s\n", Printable(command.subject).c_str(), done->c_str());
  return std::fflush(stdout) == 0 ? 0 : 2;
}

}  // namespace

void AddErase(CommandLine& line) {
  auto options = std::make_shared<EraseCommand>();
  CLI::App* app =
      line.app.add_subcommand("erase", "Destroy a person's key: no entry tells any more that it is about them");
  app->add_option("--config", options->config, "the policy file")->capture_default_str();
  app->add_option("--subject", options->subject, "the person, as the ledger names them: person:4242")->required();
  app->add_option("--reason", options->reason, "why; written to the ledger, where it stays")->required();
  app->footer(
      "Works while the gate is running, and without. The key goes at once, and within vault.erasure_horizon from "
      "every\n"
      "copy of the gate's folder; there is no way back. Entries stay, and name somebody whom nobody can tell. The rows "
      "of\n"
      "the register stay: delete them through the gate first. The reason is not sealed: name nobody in it.\n\n"
      "Example:\n  ecluse erase --subject person:4242 --reason \"request 2026-113\"");
  app->callback([&line, options] { line.exit_status = Run(*options); });
}

}  // namespace ecluse
