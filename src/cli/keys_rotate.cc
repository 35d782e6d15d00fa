// ecluse keys rotate: new keys in the place of those in use.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <memory>
#include <optional>

#include "base/bytes.h"
#include "cli/commands.h"
#include "cli/progress.h"
#include "cli/running_gate.h"
#include "cli/value_keys.h"
#include "ledger/people.h"
#include "seal/cell.h"
#include "seal/reencrypt.h"
#include "seal/search_keys.h"
#include "vault/key_changes.h"
#include "vault/keys.h"
#include "vault/root_key.h"

namespace ecluse {
namespace {

struct RotateCommand {
  std::string config = "ecluse.yaml";
  std::string owner;
  bool reencrypt = false, search = false, root = false, passphrase = false;
};

Result<std::unique_ptr<KeyRing>> OpenRing(const Policy& policy) {
  return KeyRing::Open(policy.root, policy.data_dir, nullptr, policy.Compartments());
}

Status TellOfRoot(const Policy& policy, KeyRing& keys, const std::string& id) {
  if (Status written = WriteKeyEntry(policy, keys, std::string(kNewRoot) + id); !written) {
    Error error = std::move(written).error();
    error.message = "the new root key " + id + " is in its place, and the ledger does not tell of it: " + error.message;
    return std::unexpected(std::move(error));
  }
  return {};
}

Status RenewRootFile(const RotateCommand& command, const Policy& policy) {
  ECLUSE_TRY(const bool typed, AsksOnTerminal(RealFiles(), policy.root));
  const bool passphrase = command.passphrase || typed || !policy.root.passphrase_file.empty();
  ECLUSE_TRY(const std::string id, KeyChanges(policy.root, policy.data_dir).RenewRoot(passphrase));
  std::fprintf(stderr,
               "made the root key %s anew%s; a running gate goes on and needs it at its next start\n"
               "Keep a copy%s in a safe place away from this machine, and destroy the copies of the former one once no "
               "backup of %s/keys from before is needed: they open nothing else.\n",
               policy.root.file.c_str(), passphrase ? " under the passphrase" : "",
               passphrase ? ", and the passphrase," : "", policy.data_dir.c_str());
  // Before it is finished, an interrupted renewal has keys that nothing opens.
  ECLUSE_TRY(const auto keys, OpenRing(policy));
  return TellOfRoot(policy, *keys, id);
}

Status RenewTokenRoot(const RotateCommand& command, const Policy& policy) {
  if (command.passphrase) return CannotMove("a root in a token has a PIN, and no passphrase", "leave --passphrase out");
  // Opened before: behind the change nothing but the ledger is asked before it is told.
  ECLUSE_TRY(const auto keys, OpenRing(policy));
  KeyChanges changes(policy.root, policy.data_dir);
  ECLUSE_TRY(const std::string id, changes.RenewRoot(false));
  ECLUSE_OK(TellOfRoot(policy, *keys, id));
  std::fprintf(stderr,
               "the token has made the root key %s, which the keys are under now; a running gate goes on and needs it "
               "at its next start\nBack up %s now. The token keeps what it held before, which backups of before need; "
               "once none does, two people can destroy it:\n",
               id.c_str(), policy.data_dir.c_str());
  ECLUSE_TRY(const auto roots, changes.TokenRoots());
  for (const std::string& other : roots.others) std::fprintf(stderr, "- ecluse keys destroy %s\n", other.c_str());
  return {};
}

// The ids of those that seal now, one for each compartment.
Result<std::vector<std::string>> CurrentKeys(const KeyRing& keys, const Policy& policy) {
  std::vector<std::string> ids;
  for (const std::string& name : policy.Compartments()) {
    ECLUSE_TRY(const auto compartment, SealingKeys(keys, name));
    ids.push_back(HexEncode(compartment->current().id));
  }
  return ids;
}

bool Among(const std::vector<std::string>& ids, const std::string& id) {
  return std::ranges::find(ids, id) != ids.end();
}

// One for each compartment, which are in the ring.
Status AddKey(const Policy& policy) {
  ECLUSE_OK(GiveKeys(policy));  // a gate that has others than the ring says so before it is changed
  ECLUSE_TRY(const auto keys, KeyChanges(policy.root, policy.data_dir).AddDataKeys(policy.Compartments()));
  std::string made;
  for (const KeyInfo& key : keys)
    made += (made.empty() ? "" : ", ") + key.id + (key.name == kMainCompartment ? "" : " of " + key.name);
  if (Status given = GiveKeys(policy); !given) {
    Error error = std::move(given).error();
    error.message = "made the data key " + made + ", and the running gate does not take it: " + error.message;
    return std::unexpected(std::move(error));
  }
  std::fprintf(stderr,
               "made the data key %s: what is written from now on is sealed under it\n"
               "Back up %s now: no copy of before has that key, and nothing else opens what is under it.\n",
               made.c_str(), policy.data_dir.c_str());
  return {};
}

Status RotateAlone(const Policy& policy) {
  ECLUSE_OK(OpenRing(policy));  // makes the compartments where there are none
  return AddKey(policy);
}

Status RotateAndReencrypt(const RotateCommand& command, const Policy& policy) {
  ECLUSE_TRY(auto keys, OpenRing(policy));
  std::optional<CommandValueKeys> own(std::in_place, policy, *keys);
  ECLUSE_TRY(Database owner, Database::Connect(command.owner));
  ECLUSE_OK(BeginMoving(owner, policy, *keys, Register::known));
  ECLUSE_TRY(const auto tables, TablesToReencrypt(owner, *keys, policy));
  if (tables.empty()) return CannotMove("the register has no sealed columns", "`ecluse keys rotate` makes a key alone");
  ECLUSE_TRY(const auto before, KeysInUse(owner));
  ECLUSE_TRY(auto current, CurrentKeys(*keys, policy));
  if (std::ranges::any_of(before, [&](const auto& use) { return !Among(current, use.first); })) {
    ECLUSE_OK(GiveKeys(policy));
    std::fprintf(stderr, "going on with the data key %s, which not every value is under yet\n",
                 fmt::format("{}", fmt::join(current, ", ")).c_str());
  } else {
    ECLUSE_OK(AddKey(policy));
    own.reset();
    ECLUSE_TRY(keys, OpenRing(policy));
    own.emplace(policy, *keys);
    ECLUSE_TRY(current, CurrentKeys(*keys, policy));
  }
  Progress progress;
  auto rows = Reencrypt(owner, *keys, policy, tables, std::ref(progress));
  progress.End();
  if (!rows) {
    (void)keys->TakeRing();
    ECLUSE_TRY(const auto now, CurrentKeys(*keys, policy));
    if (now == current) return std::unexpected(std::move(rows).error());
    return CannotMove("another data key was made meanwhile", "run this again: it goes on with that");
  }
  ECLUSE_TRY(const auto after, KeysInUse(owner));
  for (const auto& [id, uses] : after) {
    if (!Among(current, id))
      return CannotMove(fmt::format("{} values of {}.{} are under the key {} still", uses[0].values,
                                    uses[0].table.Text(), uses[0].column, id),
                        "see that no other gate or command writes with keys of before, and run this again");
  }
  own->Close();
  const std::string under = fmt::format("{}", fmt::join(current, ", "));
  ECLUSE_OK(WriteKeyEntry(policy, *keys, fmt::format("sealed {} rows anew under key {}", *rows, under)));
  std::printf("sealed %llu rows anew; every value is under the data key %s\n", static_cast<unsigned long long>(*rows),
              under.c_str());
  ECLUSE_TRY(const auto all, keys->List());
  bool said = false;
  for (const KeyInfo& info : all) {
    if (info.kind != "data" || Among(current, info.id)) continue;
    if (!std::exchange(said, true)) std::printf("\nNo value is under these any more; two people can destroy them:\n");
    std::printf("- ecluse keys destroy %s\n", info.id.c_str());
  }
  return std::fflush(stdout) == 0 ? Status() : Fail(sqlstate::kIo, "the report could not be written", "");
}

// `search main 5f1c0a9be2d34477, link contact …`
std::string Named(const std::vector<KeyInfo>& keys) {
  std::string text;
  for (const KeyInfo& key : keys)
    text += fmt::format("{}{} {} {}", text.empty() ? "" : ", ", key.kind, key.name, key.id);
  return text;
}

// The ring says that it is not through until every token is under the new keys: until then no gate and no other command
// searches or seals.
Status RotateSearch(const RotateCommand& command, const Policy& policy) {
  ECLUSE_TRY(auto keys, OpenRing(policy));
  keys->EndsRenewal();
  ECLUSE_TRY(Database owner, Database::Connect(command.owner));
  ECLUSE_OK(BeginMoving(owner, policy, *keys, Register::known));
  ECLUSE_OK(CheckNoGate(owner, policy, "would search by tokens under two keys"));
  ECLUSE_TRY(const auto sealed, TablesToReencrypt(owner, *keys, policy));
  ECLUSE_TRY(const auto tables, TablesToSearchAnew(owner, policy, sealed));
  ECLUSE_TRY(const auto unlinked, UnlinkedCompartments(owner, policy));
  KeyChanges changes(policy.root, policy.data_dir);
  ECLUSE_TRY(const auto made, changes.BeginSearchKeys(policy.Compartments(), unlinked));
  if (made.empty()) {
    std::fprintf(stderr, "going on with search keys that not every token is under yet\n");
  } else {
    ECLUSE_OK(WriteKeyEntry(policy, *keys, "new search keys: " + Named(made)));
  }
  ECLUSE_TRY(keys, OpenRing(policy));
  keys->EndsRenewal();
  uint64_t rows = 0;
  {
    const CommandValueKeys own(policy, *keys);
    Progress progress;
    auto done = MakeTokensAnew(owner, *keys, policy, tables, std::ref(progress));
    progress.End();
    if (!done) {
      Error error = std::move(done).error();
      error.hint += "; then run this again, which goes on: until it is through nothing is searched or sealed";
      return std::unexpected(std::move(error));
    }
    rows = *done;
  }
  ECLUSE_OK(changes.EndSearchKeys());
  ECLUSE_OK(WriteKeyEntry(policy, *keys, fmt::format("made the tokens of {} rows anew under the new search keys", rows)));
  std::printf("made the tokens of %llu rows anew\n\nStill to do:\n- back up %s now, and the register: copies of one from "
              "before do not go with the other\n",
              static_cast<unsigned long long>(rows), policy.data_dir.c_str());
  for (const SearchedTable& table : tables)
    std::printf("- VACUUM FULL %s: its files hold the former tokens until then\n", table.table->Sql().c_str());
  if (std::ranges::any_of(tables, [](const SearchedTable& one) { return one.table->links != nullptr; }))
    std::printf("- ecluse shuffle: rows of compartments stand in the order in which they were written now\n");
  for (const std::string& compartment : policy.Compartments()) {
    if (compartment != kMainCompartment && std::ranges::find(unlinked, compartment) == unlinked.end())
      std::printf("- the pseudonyms of %s stay under the linking key they are under: open its tables "
                  "(ecluse seal --undo), run this, and seal them again\n",
                  compartment.c_str());
  }
  std::printf("- copies of %s/keys from before hold the former keys, wrapped: whoever opens one can tell what the tokens "
              "in\n  backups of the register from before stand for\n",
              policy.data_dir.c_str());
  return std::fflush(stdout) == 0 ? Status() : Fail(sqlstate::kIo, "the report could not be written", "");
}

int Run(const RotateCommand& command) {
  if (command.root + command.reencrypt + command.search > 1) {
    std::fprintf(stderr, "ecluse keys: --root, --reencrypt and --search are steps: run one after the other\n");
    return 2;
  }
  if ((command.reencrypt || command.search) == command.owner.empty()) {
    std::fprintf(stderr, "ecluse keys: --owner belongs to --reencrypt and --search, which need it\n");
    return 2;
  }
  if (command.passphrase && !command.root) {
    std::fprintf(stderr, "ecluse keys: --passphrase is for a new root (--root)\n");
    return 2;
  }
  const auto policy = PolicyOf(command.config);
  if (!policy) return 2;
  if (Status user = CheckGateUser(*policy); !user) return Complain("keys", user.error());
  const Status done = command.root && policy->root.in_token() ? RenewTokenRoot(command, *policy)
                      : command.root                          ? RenewRootFile(command, *policy)
                      : command.search                        ? RotateSearch(command, *policy)
                      : command.reencrypt                     ? RotateAndReencrypt(command, *policy)
                                                              : RotateAlone(*policy);
  return done ? 0 : Complain("keys", done.error());
}

}  // namespace

void AddKeysRotate(CommandLine& line, CLI::App* keys) {
  auto options = std::make_shared<RotateCommand>();
  CLI::App* rotate = keys->add_subcommand("rotate", "New keys in the place of those in use");
  rotate->add_option("--config", options->config, "the policy file")->capture_default_str();
  rotate->add_flag("--reencrypt", options->reencrypt, "also seal every value anew under the new key");
  rotate->add_flag("--search", options->search, "new search keys, and every token anew; the gate is stopped meanwhile");
  rotate->add_option("--owner", options->owner, "connection of the tables' owner, for --reencrypt and --search");
  rotate->add_flag("--root", options->root,
                   "a new root key in the place of the one in the file or token, and keys under it");
  rotate->add_flag("--passphrase", options->passphrase, "put the new root file under a passphrase");
  rotate->footer(
      "Without --root: a new data key, under which sealed columns are written from now on; what is under former keys\n"
      "opens as before. With --reencrypt all values are sealed under it, in batches, while the register is in use;\n"
      "interrupted, it is run again and goes on. The gate goes on running. With --search the tokens that sealed columns\n"
      "are found by are made anew under new search keys, table after table: the gate is stopped meanwhile, and does not\n"
      "start before it is through. Every step is written into the ledger.\n\n"
      "Example:\n"
      "  ecluse keys rotate\n"
      "  ecluse keys rotate --reencrypt --owner postgres://owner@db.internal/interior\n"
      "  ecluse keys rotate --search --owner postgres://owner@db.internal/interior\n"
      "  ecluse keys rotate --root");
  rotate->callback([&line, options] { line.exit_status = Run(*options); });
}

}  // namespace ecluse
