// ecluse ledger: reading what was written down.
#include "ledger/ledger.h"

#include <fmt/format.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cstdio>
#include <memory>
#include <optional>
#include <set>

#include "base/log.h"
#include "base/time_text.h"
#include "cli/commands.h"
#include "ledger/json.h"
#include "policy/policy.h"

namespace ecluse {
namespace {

namespace json = boost::json;

struct ShowOptions {
  std::string config = "ecluse.yaml";
  std::set<std::string> kinds;
  std::string principal;
  std::string since;
  bool subject_free = false;
  bool json = false;
  bool follow = false;
};

std::vector<std::string> KindNames() {
  std::vector<std::string> names;
  for (int i = 0; !EntryKindName(EntryKind{i}).empty(); ++i) names.emplace_back(EntryKindName(EntryKind{i}));
  return names;
}

std::string Text(const json::object& in, std::string_view name) { return std::string(TextOf(in, name)); }

// The entry with the members that it seals beside the others; `sealed` stays where it was not opened.
json::object Merged(const json::object& entry, const std::string& opened) {
  if (opened.empty()) return entry;
  json::object merged;
  for (const auto& member : entry) {
    if (member.key() != "sealed") merged.emplace(member.key(), member.value());
  }
  boost::system::error_code bad;
  const json::value inside = json::parse(opened, bad);  // named: a range over a temporary's member would outlive it
  if (bad || !inside.is_object()) {
    merged["unreadable"] = "what is sealed in this entry is no JSON; ecluse ledger verify tells whether it was altered";
    return merged;
  }
  for (const auto& member : inside.as_object()) merged[member.key()] = member.value();
  return merged;
}

// People named in the entry, few enough for a column.
std::string PeopleOf(const json::object& entry) {
  if (const json::value* person = entry.if_contains("person"); person && person->is_string())
    return Text(entry, "person");
  std::set<std::string> people;
  const json::value* subjects = entry.if_contains("subjects");
  if (subjects == nullptr || !subjects->is_array()) return {};
  for (const json::value& table : subjects->get_array()) {
    for (const char* list : {"returned", "asked"}) {
      const json::value* names = table.is_object() ? table.get_object().if_contains(list) : nullptr;
      if (names == nullptr || !names->is_array()) continue;
      for (const json::value& name : names->get_array()) people.insert(std::string(name.as_string()));
    }
  }
  std::string out;
  size_t shown = 0;
  for (const std::string& one : people) {
    if (++shown > 3) return out + fmt::format(" and {} more", people.size() - 3);
    out += (out.empty() ? "" : " ") + one;
  }
  return out;
}

void PrintColumns(const json::object& entry, int64_t time) {
  int64_t rows = entry.contains("rows") ? entry.at("rows").as_int64() : 0;
  std::string why = Text(entry, "purpose");
  if (std::string reference = Text(entry, "reference"); !reference.empty()) why += " " + reference;
  std::string what = PeopleOf(entry);
  if (what.empty()) {
    what = Text(entry, "reason");
    if (std::string message = Text(entry, "message"); !message.empty()) what += ": " + message;
  }
  std::printf("%8lld  %s  %-10s  %-16s %-12s %6lld  %-28s %s\n", static_cast<long long>(entry.at("seq").as_int64()),
              TimeText(time).c_str(), Text(entry, "kind").c_str(), Printable(Text(entry, "principal")).c_str(),
              Printable(Text(entry, "role")).c_str(), static_cast<long long>(rows), Printable(why).c_str(),
              Printable(what).c_str());
}

Status Print(const ShowOptions& options, const Policy& policy, int64_t since) {
  LedgerOptions ledger;
  ledger.data_dir = policy.data_dir;
  ledger.register_name = policy.register_name;
  // Before the keys are opened: that would make a ring where there is no ledger to read.
  ECLUSE_OK(Ledger::Read(ledger, nullptr, since, false, [](const StoredEntry&) { return false; }));
  std::unique_ptr<KeyRing> keys;
  if (!options.subject_free) {
    ECLUSE_TRY(keys, KeyRing::Open(policy.root, policy.data_dir));
  }
  bool columns = !options.json && isatty(STDOUT_FILENO) != 0;
  if (columns)
    std::printf("%8s  %-27s  %-10s  %-16s %-12s %6s  %-28s %s\n", "seq", "time", "kind", "principal", "role", "rows",
                "why", "who or what");
  return Ledger::Read(ledger, keys.get(), since, options.follow, [&](const StoredEntry& entry) {
    json::object object = json::parse(entry.json).as_object();
    if (!options.kinds.empty() && !options.kinds.contains(Text(object, "kind"))) return true;
    if (!options.principal.empty() && Text(object, "principal") != options.principal) return true;
    object = Merged(std::move(object), entry.opened);
    if (columns) {
      PrintColumns(object, entry.time);
    } else {
      std::string line = json::serialize(object);
      std::printf("%s\n", line.c_str());
    }
    if (options.follow) std::fflush(stdout);
    return std::ferror(stdout) == 0;
  });
}

int Show(const ShowOptions& options) {
  int64_t since = 0;
  if (!options.since.empty()) {
    auto parsed = ParseTime(options.since, SystemClock().WallMicros());
    if (!parsed) {
      std::fprintf(stderr, "ecluse ledger: --since %s is no time; write %s\n", options.since.c_str(), kTimeForms);
      return 2;
    }
    since = *parsed;
  }
  auto policy = PolicyOf(options.config);
  if (!policy) return 2;
  Status done = Print(options, *policy, since);
  if (!done) return Complain("ledger", done.error());
  if (std::fflush(stdout) != 0) return 2;
  return 0;
}

}  // namespace

void AddLedger(CommandLine& line) {
  auto options = std::make_shared<ShowOptions>();
  CLI::App* ledger = line.app.add_subcommand("ledger", "What was disclosed, to whom, and why");
  ledger->require_subcommand(1);
  ledger->footer("Example:\n  ecluse ledger show --principal alice --since 2h");
  CLI::App* show = ledger->add_subcommand("show", "Show entries, opened; works while the gate is running");
  show->add_option("--config", options->config, "the policy file")->capture_default_str();
  show->add_option("--kind", options->kinds, "only entries of this kind; may be repeated")
      ->check(CLI::IsMember(KindNames()));
  show->add_option("--principal", options->principal, "only entries of this account");
  show->add_option("--since", options->since, "only entries from then on: 2024-05-01, 2024-05-01T12:00:00Z, 2h, 7d");
  show->add_flag("--subject-free", options->subject_free,
                 "open nothing: no person, reference or literal is shown, and no root key is needed");
  show->add_flag("--json", options->json, "one JSON object a line (the default where the output is no terminal)");
  show->add_flag("--follow", options->follow, "go on with what is written from now on, until interrupted");
  show->footer("Example:\n  ecluse ledger show --kind disclosure --since 2024-05-01 --json");
  show->callback([&line, options] { line.exit_status = Show(*options); });
  AddTree(line, ledger);
  AddAcceptClock(line, ledger);
  AddNewLedger(line, ledger);
  AddWitness(line, ledger);
  AddWaiveWitnesses(line, ledger);
  AddPrune(line, ledger);
  AddReconcile(line, ledger);
}

}  // namespace ecluse
