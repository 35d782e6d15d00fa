// ecluse keys: the root key, and what it wraps.
#include "vault/keys.h"

#include <unistd.h>

#include <cstdio>
#include <memory>

#include "base/log.h"
#include "cli/commands.h"
#include "ledger/json.h"
#include "policy/policy.h"
#include "vault/key_changes.h"

namespace ecluse {
namespace {

struct KeysOptions {
  std::string config = "ecluse.yaml";
  bool json = false;
  bool passphrase = false;
};

int Init(const KeysOptions& options) {
  auto policy = PolicyOf(options.config);
  if (!policy) return 2;
  const RootSource& root = policy->root;
  const bool passphrase = options.passphrase || !root.passphrase_file.empty();
  if (root.in_token() && options.passphrase) {
    std::fprintf(stderr, "ecluse keys: a token opens with its PIN: --passphrase is for a root key in a file\n");
    return 2;
  }
  if (Status made = KeyRing::Init(root, passphrase); !made) return Complain("keys", made.error());
  if (root.in_token()) {
    std::fprintf(stderr,
                 "made the root key in the token \"%s\"\n"
                 "Keep a backup of the token, made as its vendor says: without it nothing that the gate sealed can be "
                 "opened.\n",
                 Printable(root.token).c_str());
    return 0;
  }
  std::fprintf(stderr,
               "made the root key %s%s\n"
               "Keep a copy%s in a safe place away from this machine: without it nothing that the gate sealed can be "
               "opened.\n",
               root.file.c_str(), passphrase ? " under the passphrase" : "", passphrase ? ", and the passphrase," : "");
  return 0;
}

int List(const KeysOptions& options) {
  auto policy = PolicyOf(options.config);
  if (!policy) return 2;
  auto ring = KeyRing::Open(policy->root, policy->data_dir);
  if (!ring) return Complain("keys", ring.error());
  auto keys = (*ring)->List();
  if (!keys) return Complain("keys", keys.error());
  if (policy->root.in_token()) {
    auto roots = KeyChanges(policy->root, policy->data_dir).TokenRoots();
    if (!roots) return Complain("keys", roots.error());
    keys->insert(keys->begin(), {"root", "in use", roots->own});
    for (const std::string& id : roots->others) keys->insert(keys->begin() + 1, {"root", "former", id});
  }
  if (!options.json) std::printf("%-6s %-12s %s\n", "kind", "name", "id");
  for (const KeyInfo& key : *keys) {
    if (!options.json) {
      std::printf("%-6s %-12s %s\n", key.kind.c_str(), key.name.c_str(), key.id.c_str());
      continue;
    }
    std::string line = "{\"id\":";
    AppendJsonString(line, key.id);
    AppendJsonString(line += ",\"kind\":", key.kind);
    AppendJsonString(line += ",\"name\":", key.name);
    std::printf("%s}\n", line.c_str());
  }
  return 0;
}

}  // namespace

void AddKeys(CommandLine& line) {
  auto options = std::make_shared<KeysOptions>();
  CLI::App* keys = line.app.add_subcommand("keys", "The root key, and the keys it wraps");
  keys->require_subcommand(1);
  keys->footer("Example:\n  ecluse keys init --config ecluse.yaml\n  ecluse keys list --json");
  auto command = [&](const char* name, const char* text, int (*run)(const KeysOptions&)) {
    CLI::App* sub = keys->add_subcommand(name, text);
    sub->add_option("--config", options->config, "the policy file")->capture_default_str();
    sub->callback([&line, options, run] { line.exit_status = run(*options); });
    return sub;
  };
  CLI::App* init = command("init", "Make the root key where the policy says; never replaces one", Init);
  init->add_flag("--passphrase", options->passphrase,
                 "put the file under a passphrase: asked for, or read from vault.root.passphrase_file");
  init->footer("Example:\n  ecluse keys init --config ecluse.yaml");
  CLI::App* list = command("list", "Show every key's kind, name and id, never the key", List);
  list->add_flag("--json", options->json, "as JSON, one key a line");
  list->footer("Example:\n  ecluse keys list --json");
  AddKeysRotate(line, keys);
  AddKeysDestroy(line, keys);
}

}  // namespace ecluse
