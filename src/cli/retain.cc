// ecluse retain: deletes rows past their table's retention, and has it written down whose they were.
#include <cstdio>
#include <functional>
#include <memory>

#include "base/clock.h"
#include "base/file.h"
#include "cli/commands.h"
#include "cli/progress.h"
#include "cli/running_gate.h"
#include "policy/daily_runs.h"
#include "policy/policy_reader.h"
#include "seal/cell.h"
#include "seal/retain_table.h"
#include "vault/keys.h"

namespace ecluse {
namespace {

struct RetainCommand {
  std::string config = "ecluse.yaml";
  std::string owner;
  bool dry_run = false;
};

unsigned long long Shown(uint64_t number) { return number; }

void SayUndated(const RetainTarget& target, const RetainCount& count) {
  if (count.undated > 0)
    std::printf("  %llu rows have no %s: they are never deleted\n", Shown(count.undated),
                target.policy->retention->first.c_str());
}

Status Say(Database& owner, const RetainTarget& target) {
  ECLUSE_TRY(const RetainCount count, CountOld(owner, target));
  ECLUSE_TRY(const uint64_t people, CountPeople(owner, target));
  std::printf("%s: %llu rows of %llu people are older than %s\n", target.name.Text().c_str(), Shown(count.old),
              Shown(people), DurationText(target.policy->retention->second).c_str());
  if (count.nameless > 0) std::printf("  %llu of them are about nobody, and would stay\n", Shown(count.nameless));
  SayUndated(target, count);
  return {};
}

// Rows that are left.
Result<uint64_t> Delete(Database& owner, const RetainTarget& target, const RetainOptions& options) {
  ECLUSE_TRY(const RetainReport report, RetainTable(owner, target, options));
  std::printf("%s: deleted %llu rows older than %s\n", target.name.Text().c_str(), Shown(report.deleted),
              DurationText(target.policy->retention->second).c_str());
  for (const auto& [why, rows] : report.kept) std::printf("  %llu rows stay: %s\n", Shown(rows), why.c_str());
  SayUndated(target, report.count);
  return report.Left();
}

// Of tables that are gone through the gate is not to warn; those without a retention are forgotten.
Status Note(const Policy& policy, const RetainTarget& target, int64_t now, uint64_t left) {
  GoneThroughTables noted =
      ReadGoneThrough(RealFiles(), policy.data_dir, DailyRun::retain).value_or(GoneThroughTables());
  std::erase_if(noted, [&](const auto& item) {
    const auto table = policy.tables.find(item.first);
    return table == policy.tables.end() || !table->second.retention;
  });
  const auto& [column, keep] = *target.policy->retention;
  noted[target.name] = {now, static_cast<int64_t>(left), column, keep};
  return WriteGoneThrough(RealFiles(), policy.data_dir, DailyRun::retain, noted);
}

// Rows that are left in all tables.
Result<uint64_t> Retain(const RetainCommand& command, const std::shared_ptr<const Policy>& policy) {
  ECLUSE_OK(CheckGateUser(*policy));
  ECLUSE_TRY(const auto keys, KeyRing::Open(policy->root, policy->data_dir, nullptr, policy->Compartments()));
  ECLUSE_TRY(Database owner, Database::Connect(command.owner));
  ECLUSE_OK(BeginMoving(owner, *policy, *keys, Register::known));
  const int64_t now = SystemClock().WallMicros();
  ECLUSE_TRY(const auto targets, BeginRetaining(owner, *keys, policy, now));
  if (targets.empty()) std::printf("nothing to do: no table of the policy has a retention\n");
  Progress progress;
  DeletionWriter writer(*policy, *keys);
  RetainOptions options;
  options.policy = policy;
  options.tell = [&](const Deletion& deletion) { return writer.Write(deletion); };
  options.by = "; by the system's user " + SystemUser();
  options.progress = std::ref(progress);
  uint64_t left = 0;
  for (const RetainTarget& target : targets) {
    if (command.dry_run) {
      ECLUSE_OK(Say(owner, target));
      continue;
    }
    auto of_table = Delete(owner, target, options);
    progress.End();
    if (!of_table) return std::unexpected(std::move(of_table).error());
    ECLUSE_OK(Note(*policy, target, now, *of_table));
    left += *of_table;
  }
  return left;
}

int Run(const RetainCommand& command) {
  const auto policy = PolicyOf(command.config);
  if (!policy) return 2;
  const auto left = Retain(command, policy);
  if (std::fflush(stdout) != 0) return 2;
  if (!left) return Complain("retain", left.error());
  return *left > 0 ? 1 : 0;
}

}  // namespace

void AddRetain(CommandLine& line) {
  auto options = std::make_shared<RetainCommand>();
  CLI::App* command =
      line.app.add_subcommand("retain", "Deletes rows past their table's retention, and records whose they were");
  command->add_option("--config", options->config, "The policy file")->capture_default_str();
  command->add_option("--owner", options->owner, "Connection of the tables' owner")->required();
  command->add_flag("--dry-run", options->dry_run, "Only say how many rows of how many people would go");
  command->footer(
      "Works while the register is in use, with a running gate or without. Rows go in batches, each written into the\n"
      "ledger as an erasure that names its people before it is committed. Interrupted, it is run again and goes on.\n"
      "Run it once a day: the gate's log warns of tables that it has not gone through. People's keys stay: those are\n"
      "destroyed by `ecluse erase`. Exit status 0: nothing is left that is too old; 1: rows are left, it says why;\n"
      "2: it could not be done, or not to its end.\n\n"
      "Example:\n  ecluse retain --owner postgres://owner@db.internal/interior --dry-run");
  command->callback([options, &line] { line.exit_status = Run(*options); });
}

}  // namespace ecluse
