// ecluse ledger prune: removes what the ledger has kept for long enough, and says so in it.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <memory>

#include "base/clock.h"
#include "base/time_text.h"
#include "cli/commands.h"
#include "ledger/retention.h"
#include "policy/policy_reader.h"
#include "vault/keys.h"

namespace ecluse {
namespace {

struct PruneCommand {
  std::string config = "ecluse.yaml";
  std::string before, reason;
  bool dry_run = false;
};

int Run(const PruneCommand& options) {
  const int64_t now = SystemClock().WallMicros();
  auto policy = PolicyOf(options.config);
  if (!policy) return 2;
  const std::chrono::microseconds kept = policy->ledger_retention, window = policy->LongestWindow();
  int64_t before = now - std::max(kept, window).count();
  if (!options.before.empty()) {
    const auto asked = ParseTime(options.before, now);
    if (!asked) {
      std::fprintf(stderr, "ecluse ledger: --before %s is no time; write %s\n", options.before.c_str(), kTimeForms);
      return 2;
    }
    if (*asked > before) {
      std::fprintf(stderr,
                   "ecluse ledger: entries are kept for %s (ledger.retention), and budgets look back for %s\n"
                   "  give --before a time at least so long ago, or correct the policy\n",
                   DurationText(policy->ledger_retention).c_str(), DurationText(policy->LongestWindow()).c_str());
      return 2;
    }
    before = *asked;
  }
  auto keys = KeyRing::Open(policy->root, policy->data_dir);
  if (!keys) return Complain("ledger", keys.error());
  PruneOptions prune;
  prune.ledger.data_dir = policy->data_dir;
  prune.ledger.register_name = policy->register_name;
  prune.before = before;
  prune.keep = std::max(policy->ledger_retention, policy->LongestWindow());
  prune.policy = policy->digest;
  prune.why =
      fmt::format("all older than {}{}{}", TimeText(before), options.reason.empty() ? "" : ": ", options.reason);
  prune.dry_run = options.dry_run;
  const bool terminal = isatty(STDERR_FILENO) != 0;
  if (terminal) {
    prune.progress = [](uint64_t done, uint64_t all) {
      std::fprintf(stderr, "\rlooking whom later entries name: %llu of %llu", static_cast<unsigned long long>(done),
                   static_cast<unsigned long long>(all));
    };
  }
  auto pruned = PruneLedger(prune, **keys);
  if (terminal) std::fprintf(stderr, "\r\x1b[K");
  if (!pruned) return Complain("ledger", pruned.error());
  const auto number = [](uint64_t n) { return static_cast<unsigned long long>(n); };
  if (pruned->entries == 0) {
    std::printf("nothing to remove: entries go in whole bundles of 256, all older than that; the first left is %llu\n",
                number(pruned->left_from));
  } else {
    std::printf("%s %llu entries, the first left is %llu; %llu of them kept, because later ones refer to them\n",
                options.dry_run ? "would remove" : "removed", number(pruned->entries), number(pruned->left_from),
                number(pruned->kept));
    std::printf("people whom no entry names any more: %llu\n", number(pruned->people));
  }
  if (!options.dry_run && pruned->entries > 0)
    std::printf("day keys destroyed: %llu; entry %llu says so\n", number(pruned->days), number(pruned->by));
  return std::fflush(stdout) == 0 ? 0 : 2;
}

}  // namespace

void AddPrune(CommandLine& line, CLI::App* ledger) {
  auto options = std::make_shared<PruneCommand>();
  CLI::App* app =
      ledger->add_subcommand("prune", "Remove entries that were kept for long enough; the gate must not be running");
  app->add_option("--config", options->config, "the policy file")->capture_default_str();
  app->add_option("--before", options->before,
                  std::string("entries older than that, else those past the policy's retention: ") + kTimeForms);
  app->add_option("--reason", options->reason, "written to the ledger beside what was removed");
  app->add_flag("--dry-run", options->dry_run, "only say what would be removed");
  app->footer(
      "Removes whole bundles of 256 entries, the keys of their days, their rows of the index, and the keys of people\n"
      "whom no other entry names. Hashes stay, so that proofs and `ecluse ledger verify` hold; a `retention` entry "
      "says\n"
      "what went. There is no way back but a copy. Interrupted, it is run again.\n\n"
      "Example:\n  ecluse ledger prune --before 2023-05-01 --dry-run");
  app->callback([&line, options] { line.exit_status = Run(*options); });
}

}  // namespace ecluse
