// ecluse who-saw: exactly who saw a person.
#include "ledger/who_saw.h"

#include <cstdio>
#include <memory>
#include <set>

#include "base/log.h"
#include "base/time_text.h"
#include "cli/asking.h"
#include "cli/commands.h"

namespace ecluse {
namespace {

struct WhoSawOptions {
  Asking asking;
  std::string subject;
  bool json = false;
};

std::string WhatOf(const Sighting& one) {
  std::string out;
  for (const EntrySubjects& table : one.facts.subjects) {
    if (!out.empty()) out += "; ";
    out += table.table;
    if (table.returned.empty()) continue;
    std::string columns;
    for (const auto& [column, mask] : table.fields) {
      columns += columns.empty() ? ": " : ", ";
      columns += mask == "clear" ? column : column + " (" + mask + ")";
    }
    out += columns;
  }
  if (one.returned && !one.facts.ShowsValues()) out += " (no value; it may have told that there is a record)";
  if (!one.returned) out += one.facts.kind == "refusal" ? " (asked for, and refused)" : " (asked for, not there)";
  return out;
}

void Print(const WhoSaw& answer) {
  std::set<std::string> accounts;
  for (const Sighting& one : answer.seen) {
    const EntryFacts& facts = one.facts;
    accounts.insert(facts.principal);
    std::string why = facts.purpose;
    if (!facts.reference.empty()) why += " " + facts.reference;
    std::printf("%8llu  %s  %-10s  %-16s %-12s %-16s %-15s %-28s %s\n", static_cast<unsigned long long>(facts.seq),
                TimeText(facts.time).c_str(), facts.kind.c_str(), Printable(facts.principal).c_str(),
                Printable(facts.role).c_str(), Printable(facts.organisation).c_str(), Printable(facts.address).c_str(),
                Printable(why).c_str(), Printable(WhatOf(one)).c_str());
  }
  std::printf("%s: entries %zu, accounts %zu; complete to entry %llu of %s\n", Printable(answer.subject).c_str(),
              answer.seen.size(), accounts.size(), static_cast<unsigned long long>(answer.basis.size),
              Printable(answer.basis.origin).c_str());
  if (!answer.known)
    std::printf(
        "nobody is known here by that name: never named, or their key is gone (erased), which no name can find\n");
  if (answer.closed > 0)
    std::printf(
        "%llu more entries do not open with the keys that are here: whether they tell of this person is not known\n",
        static_cast<unsigned long long>(answer.closed));
}

Status Answer(const WhoSawOptions& options, const Policy& policy, int64_t from, int64_t to) {
  const size_t colon = options.subject.find(':');
  ECLUSE_TRY(OpenedLedger ledger, options.asking.Open(policy));
  ECLUSE_TRY(WhoSaw answer,
             AskWhoSaw(*ledger.query, options.subject.substr(0, colon), options.subject.substr(colon + 1), from, to));
  if (options.json) {
    ECLUSE_TRY(std::string text, WhoSawJson(answer, ledger.query->folder()));
    std::printf("%s\n", text.c_str());
  } else {
    Print(answer);
  }
  return {};
}

int Run(const WhoSawOptions& options) {
  int64_t from = 0, to = INT64_MAX;
  if (!options.asking.ReadPeriod("who-saw", &from, &to)) return 2;
  const size_t colon = options.subject.find(':');
  if (colon == 0 || colon == std::string::npos || colon + 1 == options.subject.size()) {
    std::fprintf(stderr, "ecluse who-saw: --subject is a space and an id, as person:4242\n");
    return 2;
  }
  auto policy = PolicyOf(options.asking.config);
  if (!policy) return 2;
  Status done = Answer(options, *policy, from, to);
  if (!done) return Complain("who-saw", done.error());
  return std::fflush(stdout) == 0 ? 0 : 2;
}

}  // namespace

void AddWhoSaw(CommandLine& line) {
  auto options = std::make_shared<WhoSawOptions>();
  CLI::App* app = line.app.add_subcommand("who-saw", "Exactly who saw a person, when, why and what");
  app->add_option("--subject", options->subject, "the person, as the ledger names them: person:4242")->required();
  options->asking.AddOptions(app);
  app->add_flag("--json", options->json, "one JSON object, with a proof for each entry (c2sp.org/tlog-proof@v1)");
  app->footer(
      "Works while the gate is running. Tells of every entry that names the person: what was released, what was\n"
      "changed, and who asked for them in vain.\n\n"
      "Example:\n  ecluse who-saw --subject person:4242 --from 30d");
  app->callback([&line, options] { line.exit_status = Run(*options); });
}

}  // namespace ecluse
