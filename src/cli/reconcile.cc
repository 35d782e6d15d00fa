// ecluse ledger reconcile: who went around the gate.
#include "ledger/reconcile.h"

#include <cerrno>
#include <cstdio>
#include <memory>

#include "base/file.h"
#include "base/log.h"
#include "base/time_text.h"
#include "cli/asking.h"
#include "cli/commands.h"

namespace ecluse {
namespace {

struct ReconcileOptions {
  Asking asking;
  std::vector<std::string> logs, known, hosts;
};

std::string_view What(Bypass::Kind kind) {
  switch (kind) {
    case Bypass::Kind::other_user:
      return "around the gate, as another user";
    case Bypass::Kind::other_host:
      return "with a login of the gate, from another machine";
    case Bypass::Kind::other_name:
      return "with a login of the gate, by another program";
    case Bypass::Kind::no_gate:
      return "with a login of the gate, while none served";
    case Bypass::Kind::no_entry:
      return "statements over people that no entry tells of";
  }
  return {};
}

void Print(const Bypass& one, std::string_view what) {
  std::printf("%s: user %s from %s, sessions %llu, statements %llu, %s to %s\n", std::string(what).c_str(),
              Printable(one.user).c_str(), Printable(one.host).c_str(), static_cast<unsigned long long>(one.sessions),
              static_cast<unsigned long long>(one.statements), TimeText(one.first).c_str(), TimeText(one.last).c_str());
}

Status ReadLog(const std::string& path, Reconciler& reconciler) {
  PostgresLog log([&](const PostgresRecord& record) { reconciler.Take(record); });
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), &std::fclose);
  if (!file) return std::unexpected(IoError("read", path, errno));
  std::vector<char> piece(1024 * 1024);
  while (const size_t n = std::fread(piece.data(), 1, piece.size(), file.get())) {
    Status taken = log.Take({piece.data(), n});
    if (!taken) taken.error().operator_detail = path;
    ECLUSE_OK(taken);
  }
  if (std::ferror(file.get()) != 0) return std::unexpected(IoError("read", path, errno));
  Status ended = log.End();
  if (!ended) ended.error().operator_detail = path;
  return ended;
}

Result<bool> Answer(const ReconcileOptions& options, const Policy& policy) {
  Reconciler reconciler(policy, {options.known.begin(), options.known.end()},
                        {options.hosts.begin(), options.hosts.end()});
  for (const std::string& path : options.logs) ECLUSE_OK(ReadLog(path, reconciler));
  ECLUSE_TRY(OpenedLedger ledger, options.asking.Open(policy));
  ECLUSE_TRY(const Reconciliation found, reconciler.Compare(*ledger.query));
  if (found.records == 0)
    return Fail(sqlstate::kInvalidParameter, "nothing in the log concerns the database " + policy.database.name,
                "give the log of the server that holds the register, of a time when something was asked",
                "reconcile.log");
  for (const Bypass& one : found.bypasses) Print(one, What(one.kind));
  for (const Bypass& one : found.known) Print(one, "known");
  const auto number = [](uint64_t n) { return static_cast<unsigned long long>(n); };
  std::printf("from %s to %s: records %llu, statements over people %llu, entries of roles %llu; %s\n",
              TimeText(found.first).c_str(), TimeText(found.last).c_str(), number(found.records),
              number(found.statements), number(found.entries),
              found.bypasses.empty() ? "nobody went around the gate, as far as this log shows"
                                     : "somebody went around the gate");
  if (!found.bypasses.empty()) return false;
  const auto incomplete = [](const char* what, const char* mend) {
    return Fail(sqlstate::kInvalidParameter, what, mend, "reconcile.log");
  };
  if (!found.connections)
    return incomplete("the log tells of no connections, so that nobody was found says nothing",
                      "set log_connections = on");
  if (found.statements == 0 && found.entries > 0)
    return incomplete("the log tells of no statements over people, and the ledger does",
                      "set log_statement = 'all' for the database");
  if (!found.gate_seen)
    return incomplete("the log does not show from where the gate connects", "name it by --gate-host");
  return true;
}

int Run(const ReconcileOptions& options) {
  auto policy = PolicyOf(options.asking.config);
  if (!policy) return 2;
  const auto clean = Answer(options, *policy);
  if (!clean) return Complain("ledger", clean.error());
  if (std::fflush(stdout) != 0) return 2;
  return *clean ? 0 : 1;
}

}  // namespace

void AddReconcile(CommandLine& line, CLI::App* ledger) {
  auto options = std::make_shared<ReconcileOptions>();
  CLI::App* app =
      ledger->add_subcommand("reconcile", "Compare PostgreSQL's own log with the ledger: who went around the gate");
  app->add_option("--config", options->asking.config, "the policy file")->capture_default_str();
  app->add_option("--former", options->asking.former,
                  "ask a ledger that was put away: its folder under data_dir/former");
  app->add_option("--postgres-log", options->logs, "a file of the server's log, csvlog or jsonlog; may be repeated")
      ->required();
  app->add_option("--known", options->known, "a user whose sessions are in order, as the owner's; may be repeated");
  app->add_option("--gate-host", options->hosts,
                  "the address from which the gate connects; else that of its own login is believed; may be repeated");
  app->footer(
      "PostgreSQL has to log connections (log_connections = on) and, for the gate's logins, statements\n"
      "(log_statement = 'all'), with log_timezone = 'UTC'. Exit status 0: nobody was found; 1: somebody was; 2: it "
      "could\n"
      "not be compared. A superuser can write no log, or another: send it to another machine.\n\n"
      "Example:\n  ecluse ledger reconcile --postgres-log postgresql-Mon.csv --known owner --known backup");
  app->callback([&line, options] { line.exit_status = Run(*options); });
}

}  // namespace ecluse
