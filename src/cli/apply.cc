// ecluse apply: compiles the policy into the database.
#include "policy/apply.h"

#include <boost/json.hpp>
#include <csignal>
#include <cstdio>
#include <memory>

#include "cli/commands.h"
#include "cli/running_gate.h"
#include "policy/policy.h"
#include "vault/keys.h"

namespace ecluse {
namespace {

struct ApplyOptions {
  std::string config = "ecluse.yaml";
  std::string owner;
  bool dry_run = false;
  bool remove = false;
  bool json = false;
};

void PrintJson(const ApplyReport& report, const std::vector<std::string>& problems) {
  boost::json::object out;
  out["statements"] = boost::json::array(report.statements.begin(), report.statements.end());
  out["problems"] = boost::json::array(problems.begin(), problems.end());
  out["warnings"] = boost::json::array(report.warnings.begin(), report.warnings.end());
  std::printf("%s\n", boost::json::serialize(out).c_str());
}

int Tell(const ApplyReport& report, const ApplyOptions& options) {
  std::vector<std::string> problems;
  for (const PolicyProblem& problem : report.problems) problems.push_back(ProblemText(options.config, problem));
  for (const std::string& refusal : report.refusals) problems.push_back("database: " + refusal);
  for (const std::string& warning : report.warnings) std::fprintf(stderr, "%s\n", warning.c_str());
  if (options.json) PrintJson(report, problems);
  if (!problems.empty()) {
    for (const std::string& problem : problems) std::fprintf(stderr, "%s\n", problem.c_str());
    std::fprintf(stderr, "nothing was changed\n");
    return 1;
  }
  if (options.dry_run && !options.json) {
    for (const std::string& statement : report.statements) std::printf("%s;\n", statement.c_str());
  }
  const size_t count = report.statements.size();
  if (count == 0) {
    std::fprintf(stderr, "nothing to change: the database holds %s\n",
                 options.remove ? "nothing of this register's gate" : "this policy already");
  } else if (options.dry_run) {
    std::fprintf(stderr, "%zu statements would be run; all of them were tried and rolled back\n", count);
  } else {
    std::fprintf(stderr, "%s, %zu statements\n", options.remove ? "removed" : "applied", count);
  }
  return 0;
}

// A gate that runs goes on under the old policy until it is told.
void TellGate(const Policy& policy) {
  std::optional<pid_t> gate = RunningGate(policy.data_dir);
  if (gate && kill(*gate, SIGHUP) == 0) {
    std::fprintf(stderr, "the running gate (process %d) was told to take it; its log says what came of that\n", *gate);
  } else {
    std::fprintf(
        stderr, "%s: systemctl reload ecluse, or send it SIGHUP; a gate that starts takes it by itself\n",
        gate ? "the running gate could not be told" : "no running gate was found here; where one runs elsewhere");
  }
}

int RunApply(const ApplyOptions& options) {
  std::vector<PolicyProblem> warnings;
  auto policy = PolicyOf(options.config, &warnings);
  if (!policy) return 2;
  for (const PolicyProblem& warning : warnings)
    std::fprintf(stderr, "%s\n", ProblemText(options.config, warning).c_str());
  std::unique_ptr<KeyRing> keys;
  if (!options.dry_run && !options.remove) {
    auto opened = KeyRing::Open(policy->root, policy->data_dir);
    if (!opened) return Complain("apply", opened.error());
    keys = *std::move(opened);
  }
  auto owner = Database::Connect(options.owner);
  if (!owner) return Complain("apply", owner.error());
  const ApplyMode mode = options.remove ? ApplyMode::remove : options.dry_run ? ApplyMode::dry_run : ApplyMode::apply;
  auto report = Apply(*owner, policy, keys.get(), mode);
  if (!report) return Complain("apply", report.error());
  int status = Tell(*report, options);
  if (status == 0 && mode == ApplyMode::apply) TellGate(*policy);
  return status;
}

}  // namespace

void AddApply(CommandLine& line) {
  auto options = std::make_shared<ApplyOptions>();
  CLI::App* command =
      line.app.add_subcommand("apply", "Compiles the policy into logins, views and grants of the database");
  command->add_option("--config", options->config, "The policy file")->capture_default_str();
  command->add_option("--owner", options->owner, "Connection of someone who may create roles and grant on the tables")
      ->required();
  CLI::Option* dry = command->add_flag("--dry-run", options->dry_run, "Print the SQL and change nothing");
  command->add_flag("--remove", options->remove, "Take away everything that apply made for this register")
      ->excludes(dry);
  command->add_flag("--json", options->json, "Print JSON");
  command->footer("Example: ecluse apply --config ecluse.yaml --owner postgres://owner@db.internal/interior --dry-run");
  command->callback([options, &line] { line.exit_status = RunApply(*options); });
}

}  // namespace ecluse
