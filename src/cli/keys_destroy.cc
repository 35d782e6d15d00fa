// ecluse keys destroy: two people destroy a data key that no value is under any more, or a former root key in a token.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>

#include "base/bytes.h"
#include "base/file.h"
#include "cli/ask.h"
#include "cli/commands.h"
#include "cli/running_gate.h"
#include "ledger/entries.h"
#include "ledger/origin.h"
#include "ledger/people.h"
#include "seal/cell.h"
#include "seal/reencrypt.h"
#include "vault/key_changes.h"
#include "vault/keys.h"

namespace ecluse {
namespace {

struct DestroyCommand {
  std::string config = "ecluse.yaml";
  std::string id, owner;
  TwoPeople by;
};

// Refuses what is no former data key.
Status CheckKey(const KeyRing& keys, const std::string& id) {
  const auto refuse = [](std::string what, std::string hint) {
    return Fail(sqlstate::kInvalidParameter, std::move(what), std::move(hint), "keys.destroy");
  };
  ECLUSE_TRY(const auto all, keys.List());
  const auto found = std::ranges::find(all, id, &KeyInfo::id);
  if (found == all.end()) return refuse("the ring holds no key " + id, "`ecluse keys list` names those there are");
  if (found->kind == "day")
    return refuse("the key of a day goes with its entries",
                  "`ecluse ledger prune` removes what was kept for long enough");
  if (found->kind != "data")
    return refuse(fmt::format("{} is the key {} {}, without which the gate does not run", id, found->kind, found->name),
                  "data keys can be destroyed, once no value is under them");
  ECLUSE_TRY(const auto compartment, SealingKeys(keys, found->name));
  if (HexEncode(compartment->current().id) == id)
    return refuse(id + " is the key that seals now", "`ecluse keys rotate --reencrypt` puts another in its place");
  return {};
}

// In the transaction that has the tables locked: nobody writes under a former key any more.
Status DestroyUnused(Database& owner, KeyRing& keys, const DestroyCommand& command, const Policy& policy) {
  ECLUSE_OK(LockSealedTables(owner));
  ECLUSE_TRY(const auto used, KeysInUse(owner));
  if (const auto uses = used.find(command.id); uses != used.end()) {
    std::string where;
    for (const KeyUse& use : uses->second)
      where += fmt::format("{}{} of {}.{}", where.empty() ? "" : ", ", use.values, use.table.Text(), use.column);
    return Fail(sqlstate::kInvalidParameter, "values are under that key: " + where,
                "seal them anew first: ecluse keys rotate --reencrypt --owner URL", "keys.destroy");
  }
  ECLUSE_OK(WriteKeyEntry(policy, keys, fmt::format("{}{}, {}", kDestroyKey, command.id, command.by.Text())));
  // The locks are there still.
  if (auto still = owner.Query("SELECT 1"); !still) return std::unexpected(std::move(still).error());
  return KeyChanges(policy.root, policy.data_dir).DestroyDataKey(command.id);
}

// A destruction that nobody can read of does not take place.
Status CheckLedger(const Policy& policy) {
  ECLUSE_TRY(const auto there, RealFiles().Find(policy.data_dir + "/ledger/origin"));
  if (there) return {};
  return Fail(sqlstate::kIo, "there is no ledger, in which it could be written down what two people destroy",
              "put it back; where there never was one, start the gate once: `ecluse serve`", "keys.destroy");
}

// The id of the root that the last renewal put the keys under; empty where the ledger tells of none (any more). A ring
// of before may be in the newest one's place, and the ledger knows.
Result<std::string> NewestRoot(const Policy& policy) {
  SegmentFolder folder{&RealFiles(), policy.data_dir + "/ledger", {}, 0};
  std::string origin;
  ECLUSE_TRY(folder.ledger, ReadOrigin(folder, &origin));
  Entries entries(folder);
  const std::string member = R"("reason":")" + std::string(kNewRoot);
  std::string newest;
  ECLUSE_OK(entries.Visit(0, UINT64_MAX, [&](const EntryView& entry) {
    // Quotation marks within a member's text are escaped.
    if (!entry.json.contains(R"("kind":"key",)")) return true;
    const size_t at = entry.json.find(member);
    if (at != std::string_view::npos) newest = entry.json.substr(at + member.size(), 2 * sizeof(KeyId));
    return true;
  }));
  return newest;
}

Status DestroyRoot(KeyRing& keys, const DestroyCommand& command, const Policy& policy, KeyChanges& changes) {
  const auto refuse = [](std::string what, std::string hint) {
    return Fail(sqlstate::kInvalidParameter, std::move(what), std::move(hint), "keys.destroy");
  };
  if (!command.owner.empty())
    return refuse(command.id + " is a root key, under which no value of the register is", "leave --owner out");
  if (RunningGate(policy.data_dir))
    return refuse("a gate runs, and what two people destroy is written down while none does", "stop it for a moment");
  ECLUSE_TRY(const std::string newest, NewestRoot(policy));
  if (newest == command.id)
    return refuse(fmt::format("{} is the newest root key, and {}/keys/ring is a copy from before it", command.id,
                              policy.data_dir),
                  "put the newest copy of the ring back: what was made since is in it alone");
  ECLUSE_OK(AskTwoPeople(policy, command.by.people));
  bool told = false;
  Status done = changes.DestroyRoot(command.id, [&]() -> Status {
    ECLUSE_OK(
        WriteKeyEntry(policy, keys, fmt::format("{}{}, a root key, {}", kDestroyKey, command.id, command.by.Text())));
    told = true;
    return {};
  });
  if (!done && told) {
    (void)WriteKeyEntry(policy, keys, "the token did not destroy the root key " + command.id);
    return done;
  }
  ECLUSE_OK(done);
  std::printf("destroyed the root key %s: copies of %s/keys that were wrapped under it open nothing any more\n",
              command.id.c_str(), policy.data_dir.c_str());
  return std::fflush(stdout) == 0 ? Status() : Fail(sqlstate::kIo, "the report could not be written", "");
}

Status Destroy(const DestroyCommand& command, const Policy& policy) {
  ECLUSE_OK(CheckGateUser(policy));
  ECLUSE_TRY(const auto keys, KeyRing::Open(policy.root, policy.data_dir));
  ECLUSE_OK(CheckLedger(policy));
  if (policy.root.in_token()) {
    KeyChanges changes(policy.root, policy.data_dir);
    ECLUSE_TRY(const auto roots, changes.TokenRoots());
    if (command.id == roots.own)
      return Fail(sqlstate::kInvalidParameter, command.id + " is the root key that the gate's keys are wrapped under",
                  "`ecluse keys rotate --root` puts another in its place", "keys.destroy");
    if (std::ranges::find(roots.others, command.id) != roots.others.end())
      return DestroyRoot(*keys, command, policy, changes);
  }
  if (command.owner.empty())
    return Fail(sqlstate::kInvalidParameter, "a data key is destroyed where it is seen that no value is under it",
                "name the connection of the tables' owner with --owner", "keys.destroy");
  ECLUSE_OK(CheckKey(*keys, command.id));
  ECLUSE_OK(AskTwoPeople(policy, command.by.people));
  ECLUSE_TRY(Database owner, Database::Connect(command.owner));
  ECLUSE_OK(BeginMoving(owner, policy, *keys, Register::known));
  ECLUSE_OK(CheckNoGate(owner, policy, "may be writing under that key just now"));
  ECLUSE_OK(owner.Run("BEGIN"));
  ECLUSE_OK(DestroyUnused(owner, *keys, command, policy));
  std::printf(
      "destroyed the data key %s\n\nStill to do:\n"
      "- copies of %s/keys from before hold it, wrapped: destroy them, or make a new root (ecluse keys rotate --root)\n"
      "  and destroy the former one\n"
      "- base backups and WAL of the register from before hold values under it, which nothing else opens\n",
      command.id.c_str(), policy.data_dir.c_str());
  return std::fflush(stdout) == 0 ? Status() : Fail(sqlstate::kIo, "the report could not be written", "");
}

int Run(const DestroyCommand& command) {
  const auto policy = PolicyOf(command.config);
  if (!policy) return 2;
  const Status done = Destroy(command, *policy);
  return done ? 0 : Complain("keys", done.error());
}

}  // namespace

void AddKeysDestroy(CommandLine& line, CLI::App* keys) {
  auto options = std::make_shared<DestroyCommand>();
  CLI::App* destroy =
      keys->add_subcommand("destroy", "Destroy a data key that no value is under, or a former root key in a token");
  destroy->add_option("--config", options->config, "the policy file")->capture_default_str();
  destroy->add_option("id", options->id, "the key's id, 16 digits (ecluse keys list)")->required();
  destroy->add_option("--owner", options->owner,
                      "connection of the tables' owner, who sees that nothing is under it: of a data key");
  options->by.AddOptions(destroy, "an account that stands for it", "why; written to the ledger");
  destroy->footer(
      "The gate must not be running. Of a data key every sealed table is read under a lock that keeps writers out; a "
      "root\n"
      "key of the token goes without --owner. Asks for both passwords; where the input is no terminal it reads them\n"
      "from there, one a line. There is no way back.\n\n"
      "Example:\n"
      "  ecluse keys destroy 5f1c0a9be2d34477 --owner postgres://owner@db.internal/interior --by alice --by bob \\\n"
      "    --reason \"yearly rotation\"");
  destroy->callback([&line, options] { line.exit_status = Run(*options); });
}

}  // namespace ecluse
