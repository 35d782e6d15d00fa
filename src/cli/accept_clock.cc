// ecluse ledger accept-clock: two people say that a clock behind the ledger's last entry is right.
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <set>

#include "cli/ask.h"
#include "cli/commands.h"
#include "identity/accounts.h"
#include "ledger/ledger.h"
#include "policy/policy.h"

namespace ecluse {
namespace {

struct AcceptOptions {
  std::string config = "ecluse.yaml";
  std::vector<std::string> people;
  std::string reason;
};

// Two people: two accounts that may log in, each with its password.
Status AskThem(const AcceptOptions& options, const AccountMap& accounts) {
  if (std::set<std::string>(options.people.begin(), options.people.end()).size() != 2)
    return Fail(sqlstate::kInvalidParameter, "it takes two people", "Name two accounts: --by alice --by bob.");
  for (const std::string& name : options.people) {
    std::string password;
    bool given = ReadLine(("Password of " + name + ": ").c_str(), &password);
    auto found = accounts.find(name);
    if (!given || found == accounts.end() || found->second.locked || !found->second.verifier.Matches(password))
      return Fail(sqlstate::kWrongPassword, "the name or the password of " + name + " is wrong",
                  "Nothing was accepted. Both need an account that is not locked (ecluse account list).");
  }
  return {};
}

int Accept(const AcceptOptions& options) {
  auto policy = PolicyOf(options.config);
  if (!policy) return 2;
  auto accounts = LoadAccounts(policy->accounts_file);
  if (!accounts) return Complain("ledger", accounts.error());
  if (Status agreed = AskThem(options, *accounts); !agreed) return Complain("ledger", agreed.error());
  auto keys = KeyRing::Open(policy->root_key_file, policy->data_dir);
  if (!keys) return Complain("ledger", keys.error());
  LedgerOptions ledger;
  ledger.data_dir = policy->data_dir;
  ledger.register_name = policy->register_name;
  Status accepted = Ledger::AcceptClock(
      ledger, **keys, "by " + options.people[0] + " and " + options.people[1] + ": " + options.reason);
  if (!accepted) return Complain("ledger", accepted.error());
  std::fprintf(stderr, "accepted and written down; the gate starts, and its entries go on from the last one's time\n");
  return 0;
}

}  // namespace

void AddAcceptClock(CommandLine& line, CLI::App* ledger) {
  auto options = std::make_shared<AcceptOptions>();
  CLI::App* accept = ledger->add_subcommand(
      "accept-clock", "Accept that the machine's clock is behind the last entry; the gate must not be running");
  accept->add_option("--config", options->config, "the policy file")->capture_default_str();
  accept->add_option("--by", options->people, "an account that accepts it, with its password; given twice")->required();
  accept->add_option("--reason", options->reason, "why the clock is right now; written to the ledger")
      ->required()
      ->check([](const std::string& text) { return text.empty() ? "a reason must be given" : std::string(); });
  accept->footer(
      "Asks for both passwords; where the input is no terminal it reads them from there, one a line.\n\n"
      "Example:\n  ecluse ledger accept-clock --by alice --by bob --reason \"the clock was an hour ahead since May\"");
  accept->callback([&line, options] { line.exit_status = Accept(*options); });
}

}  // namespace ecluse
