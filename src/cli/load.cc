// ecluse load: rows of a file into a table in bulk, sealed on the way.
#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>

#include "cli/commands.h"
#include "cli/progress.h"
#include "cli/running_gate.h"
#include "cli/value_keys.h"
#include "seal/cell.h"
#include "seal/load_table.h"
#include "vault/keys.h"

namespace ecluse {
namespace {

struct LoadCommand {
  std::string config = "ecluse.yaml";
  std::string owner, table, file;
};

Result<LoadReport> Load(const LoadCommand& command, const std::shared_ptr<const Policy>& policy,
                        const TableName& table) {
  ECLUSE_OK(CheckGateUser(*policy));
  ECLUSE_TRY(const auto keys, KeyRing::Open(policy->root, policy->data_dir, nullptr, policy->Compartments()));
  CommandValueKeys own(*policy, *keys);
  ECLUSE_TRY(Database owner, Database::Connect(command.owner));
  ECLUSE_OK(BeginMoving(owner, *policy, *keys, Register::known));
  // What is sealed under a key that the gate does not have, it could not open.
  ECLUSE_OK(GiveKeys(*policy));
  Progress progress;
  LoadOptions options;
  options.policy = policy;
  options.table = table;
  options.path = std::filesystem::absolute(command.file).lexically_normal().string();
  options.tell = [&](const std::string& what, uint64_t rows) {
    own.Close();
    return WriteCollectionEntry(*policy, *keys, fmt::format("{}; by the system's user {}", what, SystemUser()), rows);
  };
  options.progress = std::ref(progress);
  auto report = LoadTable(owner, *keys, options);
  progress.End();
  return report;
}

int Run(const LoadCommand& command) {
  const auto policy = PolicyOf(command.config);
  if (!policy) return 2;
  const auto table = TableOf("load", command.table);
  if (!table) return 2;
  const auto report = Load(command, policy, *table);
  if (!report) return Complain("load", report.error());
  std::printf("%s%llu rows into %s\n", report->before ? "nothing to do: this file was loaded before: " : "loaded ",
              static_cast<unsigned long long>(report->loaded), table->Text().c_str());
  if (report->rejected > 0)
    std::printf("%llu rows were rejected: %s says which, and why\n", static_cast<unsigned long long>(report->rejected),
                report->rejects.c_str());
  if (std::fflush(stdout) != 0) return 2;
  return report->rejected > 0 ? 1 : 0;
}

}  // namespace

void AddLoad(CommandLine& line) {
  auto options = std::make_shared<LoadCommand>();
  CLI::App* command = line.app.add_subcommand("load", "Loads a file of rows into a table in bulk, sealed on the way");
  command->add_option("--config", options->config, "The policy file")->capture_default_str();
  command->add_option("--owner", options->owner, "Connection of the table's owner")->required();
  command->add_option("--table", options->table, "schema.table")->required();
  command->add_option("FILE", options->file, "FILE.csv, whose first line names columns, or FILE.jsonl")->required();
  command->footer(
      "Rows are written in batches. Those that do not go into the table are listed in FILE.rejected, with their lines\n"
      "and why. Interrupted, it is run again with the same arguments and goes on; a file that was loaded is not "
      "loaded\n"
      "twice. Exit status 0: every row is in the table; 1: some were rejected; 2: it could not be loaded, or not to "
      "its\n"
      "end.\n\n"
      "Example:\n  ecluse load --table taj.person --owner postgres://owner@db.internal/interior people.csv");
  command->callback([options, &line] { line.exit_status = Run(*options); });
}

}  // namespace ecluse
