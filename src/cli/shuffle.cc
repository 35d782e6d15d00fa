// ecluse shuffle: writes the rows of tables in compartments anew, in no order.
#include <cstdio>
#include <functional>
#include <memory>

#include "base/clock.h"
#include "base/file.h"
#include "cli/commands.h"
#include "cli/progress.h"
#include "cli/running_gate.h"
#include "policy/daily_runs.h"
#include "seal/shuffle_tables.h"
#include "vault/keys.h"

namespace ecluse {
namespace {

struct ShuffleCommand {
  std::string config = "ecluse.yaml";
  std::string owner;
  std::vector<std::string> tables;
};

int RunShuffle(const ShuffleCommand& command) {
  const auto policy = PolicyOf(command.config);
  if (!policy) return 2;
  std::vector<TableName> only;
  for (const std::string& name : command.tables) {
    const auto table = TableOf("shuffle", name);
    if (!table) return 2;
    only.push_back(*table);
  }
  if (Status user = CheckGateUser(*policy); !user) return Complain("shuffle", user.error());
  auto keys = KeyRing::Open(policy->root, policy->data_dir, nullptr, policy->Compartments());
  if (!keys) return Complain("shuffle", keys.error());
  auto owner = Database::Connect(command.owner);
  if (!owner) return Complain("shuffle", owner.error());
  const int64_t now = SystemClock().WallMicros();
  Progress progress;
  auto shuffled = ShuffleTables(*owner, **keys, *policy, only, std::ref(progress));
  progress.End();
  if (!shuffled) return Complain("shuffle", shuffled.error());
  std::vector<TableName> names;
  for (const ShuffledTable& table : *shuffled) names.push_back(table.name);
  if (Status noted = NoteShuffled(RealFiles(), *policy, names, now); !noted) return Complain("shuffle", noted.error());
  if (shuffled->empty()) std::printf("nothing to do: no table of the policy is in a compartment\n");
  for (const ShuffledTable& table : *shuffled)
    std::printf("%s: %llu rows written anew\n", table.name.Text().c_str(), static_cast<unsigned long long>(table.rows));
  return std::fflush(stdout) == 0 ? 0 : 2;
}

}  // namespace

void AddShuffle(CommandLine& line) {
  auto options = std::make_shared<ShuffleCommand>();
  CLI::App* command = line.app.add_subcommand(
      "shuffle",
      "Writes the rows of tables in compartments anew, in no order, so that none can be joined by its place");
  command->add_option("--config", options->config, "The policy file")->capture_default_str();
  command->add_option("--owner", options->owner, "Connection of the tables' owner")->required();
  command->add_option("--table", options->tables,
                      "schema.table; may be given several times. Without: all that are in a compartment");
  command->footer(
      "PostgreSQL keeps where a row stands and which transaction wrote it: rows of two tables that were written one\n"
      "after the other can be told by that in a copy of the database. `ecluse seal` takes it away of what it seals;\n"
      "run this once a day for what was written since: the gate's log warns where it was not. Each table is locked "
      "while\n"
      "it is written anew.\n\n"
      "Example:\n  ecluse shuffle --owner postgres://owner@db.internal/interior");
  command->callback([options, &line] { line.exit_status = RunShuffle(*options); });
}

}  // namespace ecluse
