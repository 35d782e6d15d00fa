// ecluse seal: seals columns of tables that stand in clear, while the register is in use.
#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <functional>
#include <memory>

#include "base/clock.h"
#include "base/file.h"
#include "cli/commands.h"
#include "cli/progress.h"
#include "cli/running_gate.h"
#include "cli/value_keys.h"
#include "policy/daily_runs.h"
#include "seal/cell.h"
#include "seal/seal_tables.h"
#include "vault/keys.h"

namespace ecluse {
namespace {

constexpr size_t kColumnsNamed = 2'000;  // bytes

struct SealCommand {
  std::string config = "ecluse.yaml";
  std::string owner;
  std::vector<std::string> tables;
  bool undo = false;
};

// What the ledger says of it.
std::string LedgerText(const SealCommand& command, const SealReport& report) {
  std::string text;
  for (const std::string& column : report.columns) {
    const std::string more = (text.empty() ? (command.undo ? "opened " : "sealed ") : ", ") + column;
    if (text.size() + more.size() > kColumnsNamed)
      return text + fmt::format(", and others: {} columns, {} rows", report.columns.size(), report.rows);
    text += more;
  }
  return text + fmt::format(": {} rows", report.rows);
}

int RunSeal(const SealCommand& command) {
  auto policy = PolicyOf(command.config);
  if (!policy) return 2;
  SealOptions options;
  options.policy = policy;
  options.undo = command.undo;
  for (const std::string& name : command.tables) {
    const auto table = TableOf("seal", name);
    if (!table) return 2;
    options.tables.push_back(*table);
  }
  auto keys = KeyRing::Open(policy->root, policy->data_dir, nullptr, policy->Compartments());
  if (!keys) return Complain("seal", keys.error());
  CommandValueKeys own(*policy, **keys);
  // What is sealed under a key that the gate does not have, it could not open.
  if (Status given = GiveKeys(*policy); !given) return Complain("seal", given.error());
  auto owner = Database::Connect(command.owner);
  if (!owner) return Complain("seal", owner.error());
  Progress progress;
  options.progress = std::ref(progress);
  options.say = [&](const std::string& what) {
    progress.End();
    std::fprintf(stderr, "ecluse seal: %s\n", what.c_str());
  };
  const int64_t now = SystemClock().WallMicros();
  auto report = SealTables(*owner, **keys, options);
  progress.End();
  if (!report) return Complain("seal", report.error());
  if (report->columns.empty()) {
    std::printf(command.undo ? "nothing to open: the policy seals what the database has sealed\n"
                             : "nothing to seal: the database has sealed what the policy seals\n");
    return 0;
  }
  for (const std::string& column : report->columns)
    std::printf("%s %s\n", command.undo ? "opened" : "sealed", column.c_str());
  std::printf("%llu rows; the policy is applied\n", static_cast<unsigned long long>(report->rows));
  std::printf("\nStill to do:\n");
  for (const std::string& what : report->still_to_do) std::printf("- %s\n", what.c_str());
  own.Close();
  if (Status noted = NoteShuffled(RealFiles(), *policy, report->shuffled, now); !noted)
    std::printf("- the gate will warn that no `shuffle` was run: %s\n", noted.error().message.c_str());
  if (Status written = WriteKeyEntry(*policy, **keys, LedgerText(command, *report)); !written)
    std::printf("- the ledger does not tell of it: %s\n", written.error().message.c_str());
  const std::optional<pid_t> gate = RunningGate(policy->data_dir);
  if (gate && kill(*gate, SIGHUP) == 0) {
    std::printf("\nthe running gate (process %d) was told to take it; its log says what came of that\n", *gate);
  }
  return std::fflush(stdout) == 0 ? 0 : 2;
}

}  // namespace

void AddSeal(CommandLine& line) {
  auto options = std::make_shared<SealCommand>();
  CLI::App* command =
      line.app.add_subcommand("seal", "Seals columns that stand in clear, while the register is in use");
  command->add_option("--config", options->config, "The policy file")->capture_default_str();
  command->add_option("--owner", options->owner, "Connection of the tables' owner, who may also apply the policy")
      ->required();
  command->add_option("--table", options->tables,
                      "schema.table; may be given several times. Without: all that the "
                      "policy seals and the database does not");
  command->add_flag("--undo", options->undo, "The way back: open the columns that the policy no longer seals");
  command->footer(
      "Rows are sealed in batches beside the clear values, which stay in use until the change: one transaction under\n"
      "an exclusive lock, in which the tables are written anew and the policy is applied. Interrupted, it is run "
      "again\n"
      "and goes on. At its end it says what is left to do about backups, WAL and logs.\n\n"
      "Example:\n  ecluse seal --table taj.person --owner postgres://owner@db.internal/interior");
  command->callback([options, &line] { line.exit_status = RunSeal(*options); });
}

}  // namespace ecluse
