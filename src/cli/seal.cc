// ecluse seal: seals columns of tables that stand in clear, while the register is in use.
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <memory>

#include "cli/commands.h"
#include "cli/running_gate.h"
#include "seal/cell.h"
#include "seal/seal_tables.h"
#include "vault/keys.h"

namespace ecluse {
namespace {

struct SealCommand {
  std::string config = "ecluse.yaml";
  std::string owner;
  std::vector<std::string> tables;
  bool undo = false;
};

// A line about every second, with a rate and what is left of the time.
class Progress {
 public:
  void operator()(const std::string& what, uint64_t done, uint64_t all) {
    const auto now = std::chrono::steady_clock::now();
    if (what == what_ && now - shown_ < std::chrono::seconds(1)) return;
    if (what != what_) begun_ = now, first_ = done;
    what_ = what;
    shown_ = now;
    const double seconds = std::chrono::duration<double>(now - begun_).count();
    const double rate = seconds > 0 ? static_cast<double>(done - first_) / seconds : 0;
    std::fprintf(stderr, "%s%s", terminal_ ? "\r\x1b[K" : "", what.c_str());
    if (done > 0) std::fprintf(stderr, ": %llu rows", static_cast<unsigned long long>(done));
    if (done > 0 && all > 0) std::fprintf(stderr, " of about %llu", static_cast<unsigned long long>(all));
    if (rate > 0) std::fprintf(stderr, ", %.0f a second", rate);
    if (rate > 0 && all > done) std::fprintf(stderr, ", about %.0f s left", static_cast<double>(all - done) / rate);
    if (!terminal_) std::fputc('\n', stderr);
  }
  void End() const {
    if (terminal_) std::fprintf(stderr, "\r\x1b[K");
  }

 private:
  const bool terminal_ = isatty(STDERR_FILENO) != 0;
  std::string what_;
  std::chrono::steady_clock::time_point begun_, shown_;
  uint64_t first_ = 0;
};

int RunSeal(const SealCommand& command) {
  auto policy = PolicyOf(command.config);
  if (!policy) return 2;
  SealOptions options;
  options.policy = policy;
  options.undo = command.undo;
  for (const std::string& name : command.tables) {
    const size_t dot = name.find('.');
    if (dot == std::string::npos) {
      std::fprintf(stderr, "ecluse seal: --table %s is no table; write schema.table\n", name.c_str());
      return 2;
    }
    options.tables.push_back({name.substr(0, dot), name.substr(dot + 1)});
  }
  const std::string compartments[] = {std::string(kMainCompartment)};
  auto keys = KeyRing::Open(policy->root, policy->data_dir, nullptr, compartments);
  if (!keys) return Complain("seal", keys.error());
  auto owner = Database::Connect(command.owner);
  if (!owner) return Complain("seal", owner.error());
  Progress progress;
  options.progress = [&](const std::string& what, uint64_t done, uint64_t all) { progress(what, done, all); };
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
