// ecluse check: is the policy right, by itself and, with --owner, over a real database.
#include <boost/json.hpp>
#include <cstdio>
#include <memory>

#include "cli/commands.h"
#include "policy/apply.h"
#include "policy/defaults.h"
#include "policy/policy.h"

namespace ecluse {
namespace {

struct CheckOptions {
  std::string config = "ecluse.yaml";
  std::string owner;
  bool defaults = false;
  bool json = false;
};

// Everything found, in order; problems before what is only worth knowing.
struct Findings {
  std::vector<std::string> problems;
  std::vector<std::string> warnings;
};

void Print(const Findings& findings, const CheckOptions& options) {
  if (options.json) {
    boost::json::object out;
    out["problems"] = boost::json::array(findings.problems.begin(), findings.problems.end());
    out["warnings"] = boost::json::array(findings.warnings.begin(), findings.warnings.end());
    std::printf("%s\n", boost::json::serialize(out).c_str());
    return;
  }
  for (const std::string& line : findings.problems) std::printf("%s\n", line.c_str());
  for (const std::string& line : findings.warnings) std::printf("%s\n", line.c_str());
}

int RunCheck(const CheckOptions& options) {
  if (options.defaults) {
    std::fputs(PolicyDefaults().c_str(), stdout);
    return 0;
  }
  Findings findings;
  auto add = [&](const std::vector<PolicyProblem>& problems) {
    for (const PolicyProblem& problem : problems) {
      (problem.warning ? findings.warnings : findings.problems).push_back(ProblemText(options.config, problem));
    }
  };
  std::vector<PolicyProblem> warnings;
  auto policy = LoadPolicy(options.config, &warnings);
  add(policy ? warnings : policy.error());
  if (policy && !options.owner.empty()) {
    auto owner = Database::Connect(options.owner);
    auto report = owner ? CheckAgainst(*owner, *policy) : Result<ApplyReport>(std::unexpected(owner.error()));
    if (!report) return Complain("check", report.error());
    add(report->problems);
    for (std::string& line : report->refusals) findings.problems.push_back(options.config + ": database: " + line);
    for (std::string& line : report->warnings) findings.warnings.push_back(std::move(line));
  }
  Print(findings, options);
  if (findings.problems.empty()) {
    std::fprintf(stderr, "%s: the policy is valid%s\n", options.config.c_str(),
                 options.owner.empty() ? "; with --owner URL it is also checked against the database"
                                       : " and fits the database");
    return 0;
  }
  std::fprintf(stderr, "%zu problem%s\n", findings.problems.size(), findings.problems.size() == 1 ? "" : "s");
  return 1;
}

}  // namespace

void AddCheck(CommandLine& line) {
  auto options = std::make_shared<CheckOptions>();
  CLI::App* command =
      line.app.add_subcommand("check", "Validates the policy; prints every problem with its line and column");
  command->add_option("--config", options->config, "The policy file")->capture_default_str();
  command->add_option("--owner", options->owner, "Also check against the database, as postgres://owner@host/database");
  command->add_flag("--defaults", options->defaults, "Print what holds where the policy says nothing, and end");
  command->add_flag("--json", options->json, "Print JSON");
  command->footer("Example: ecluse check --config ecluse.yaml --owner postgres://owner@db.internal/interior");
  command->callback([options, &line] { line.exit_status = RunCheck(*options); });
}

}  // namespace ecluse
