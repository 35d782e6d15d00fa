// ecluse erase: a person's keys are destroyed, and with them what only they open.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>

#include "base/limits.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/running_gate.h"
#include "ledger/ledger.h"
#include "seal/cell.h"
#include "seal/erase_rows.h"
#include "seal/table_rows.h"

namespace ecluse {
namespace {

struct EraseCommand {
  std::string config = "ecluse.yaml";
  std::string subject, reason, owner;
};

// By the gate that runs, or in its absence.
Result<std::string> EraseKeys(const EraseCommand& command, const Policy& policy, bool in_register) {
  ECLUSE_TRY(auto done, AskIfRunning(policy, {{"command", "erase"},
                                              {"subject", command.subject},
                                              {"reason", command.reason},
                                              {"register", in_register ? "yes" : "no"}}));
  if (done) return *std::move(done);
  ECLUSE_TRY(auto keys, KeyRing::Open(policy.root, policy.data_dir));
  LedgerOptions options;
  options.data_dir = policy.data_dir;
  options.register_name = policy.register_name;
  return Ledger::EraseAlone(std::move(options), *keys, command.subject, policy.erasure_horizon, policy.digest,
                            command.reason, in_register);
}

// With what of them stands in the register. The keys go first: what is cleared before the entry that tells of it would
// be gone without one.
Result<std::string> EraseInRegister(const EraseCommand& command, const Policy& policy) {
  ECLUSE_TRY(const auto keys, KeyRing::Open(policy.root, policy.data_dir, nullptr, policy.Compartments()));
  ECLUSE_TRY(Database owner, Database::Connect(command.owner));
  ECLUSE_OK(BeginMoving(owner, policy, *keys, Register::known));
  ECLUSE_TRY(ErasedRows rows, ErasedRows::Find(owner, *keys, policy, command.subject));
  ECLUSE_TRY(const std::string done, EraseKeys(command, policy, rows.count() > 0));
  auto cleared = rows.Clear();
  if (!cleared) {
    Error error = std::move(cleared).error();
    error.message = done + ", and the register is not cleared, or not all of it: " + error.message;
    error.hint = "run this again, which clears their rows";
    return std::unexpected(std::move(error));
  }
  return fmt::format("{}; {} rows of the register are cleared of them", done, *cleared);
}

Result<std::string> Erase(const EraseCommand& command, const Policy& policy) {
  ECLUSE_OK(CheckGateUser(policy));
  const auto own = std::ranges::find_if(policy.tables, [](const auto& table) { return table.second.own_keys; });
  if (own == policy.tables.end()) return EraseKeys(command, policy, false);
  if (command.owner.empty())
    return Fail(sqlstate::kInvalidParameter,
                own->first.Text() +
                    " has rows that are to be cleared of whoever is erased, for which the tables' owner is "
                    "needed",
                "give --owner postgres://owner@host/database", "cli.owner");
  return EraseInRegister(command, policy);
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
  CLI::App* app = line.app.add_subcommand("erase", "Destroy a person's keys: nothing tells any more what is theirs");
  app->add_option("--config", options->config, "the policy file")->capture_default_str();
  app->add_option("--subject", options->subject, "the person, as the ledger names them: person:4242")->required();
  app->add_option("--reason", options->reason, "why; written to the ledger, where it stays")->required();
  app->add_option("--owner", options->owner,
                  "Connection of the tables' owner; needed where a table has erasure: per_person");
  app->footer(
      "Works while the gate is running, and without. The key goes at once, and within vault.erasure_horizon from "
      "every\n"
      "copy of the gate's folder; there is no way back. Entries stay, and name somebody whom nobody can tell. In "
      "tables\n"
      "with erasure: per_person nothing that is sealed for them opens any more, in any backup, and their rows are "
      "cleared\n"
      "of it, of their blind indexes, and of the columns that the policy names. Other rows of the register stay: "
      "delete\n"
      "them through the gate first. The reason is not sealed: name nobody in it.\n\n"
      "Example:\n  ecluse erase --subject person:4242 --reason \"request 2026-113\" --owner "
      "postgres://owner@db/interior");
  app->callback([&line, options] { line.exit_status = Run(*options); });
}

}  // namespace ecluse
