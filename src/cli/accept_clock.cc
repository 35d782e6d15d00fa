// ecluse ledger accept-clock: two people say that a clock behind the ledger's last entry is right.
#include <cstdio>
#include <memory>

#include "cli/ask.h"
#include "cli/commands.h"
#include "ledger/ledger.h"
#include "policy/policy.h"

namespace ecluse {
namespace {

struct AcceptOptions {
  std::string config = "ecluse.yaml";
  TwoPeople by;
};

int Accept(const AcceptOptions& options) {
  auto policy = PolicyOf(options.config);
  if (!policy) return 2;
  if (Status agreed = AskTwoPeople(*policy, options.by.people); !agreed) return Complain("ledger", agreed.error());
  auto keys = KeyRing::Open(policy->root, policy->data_dir);
  if (!keys) return Complain("ledger", keys.error());
  LedgerOptions ledger;
  ledger.data_dir = policy->data_dir;
  ledger.register_name = policy->register_name;
  Status accepted = Ledger::AcceptClock(ledger, **keys, options.by.Text());
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
  options->by.AddOptions(accept, "an account that accepts it", "why the clock is right now; written to the ledger");
  accept->footer(
      "Asks for both passwords; where the input is no terminal it reads them from there, one a line.\n\n"
      "Example:\n  ecluse ledger accept-clock --by alice --by bob --reason \"the clock was an hour ahead since May\"");
  accept->callback([&line, options] { line.exit_status = Accept(*options); });
}

}  // namespace ecluse
