// ecluse account: who may log in with a password.
#include <unistd.h>

#include <boost/json.hpp>
#include <cstdio>
#include <memory>

#include "base/limits.h"
#include "base/log.h"
#include "base/random.h"
#include "cli/ask.h"
#include "cli/commands.h"
#include "identity/accounts.h"
#include "policy/policy.h"

namespace ecluse {
namespace {

struct AccountOptions {
  std::string config = "ecluse.yaml";
  std::string name;
  std::vector<std::string> roles;
  std::string organisation;
  std::string reason;
  bool password_stdin = false;
  bool json = false;
};

// 20 characters of 32 that cannot be taken for each other: 100 random bits.
std::string GeneratedPassword() {
  static constexpr std::string_view kLetters = "abcdefghjkmnpqrstuvwxyz23456789A";
  std::array<uint8_t, 20> bytes;
  RandomBytes(bytes);
  std::string password;
  for (uint8_t byte : bytes) password.push_back(kLetters[byte % kLetters.size()]);
  return password;
}

struct Password {
  Secret text;
  bool generated = false;
};

Result<Password> AskPassword(bool from_stdin) {
  if (!from_stdin && isatty(STDIN_FILENO) == 0) return Password{Secret(std::string_view(GeneratedPassword())), true};
  std::string first, second;
  if (!ReadLine("Password (Enter alone makes one up): ", &first)) {
    return Fail(sqlstate::kInvalidParameter, "no password was given", "Write it on one line of standard input.");
  }
  if (!from_stdin && first.empty()) return Password{Secret(std::string_view(GeneratedPassword())), true};
  if (!from_stdin && (!ReadLine("The same again: ", &second) || first != second)) {
    return Fail(sqlstate::kInvalidParameter, "the two passwords differ", "Nothing was changed; try again.");
  }
  if (first.size() < limits::kPasswordBytes) {
    return Fail(sqlstate::kInvalidParameter,
                "the password is shorter than " + std::to_string(limits::kPasswordBytes) + " bytes",
                "Take a longer one; three or four words make a good one.");
  }
  return Password{Secret(std::string_view(first)), false};
}

Status CheckNew(const AccountOptions& options, const Policy& policy) {
  if (!ValidAccountName(options.name)) {
    return Fail(sqlstate::kInvalidParameter, "\"" + options.name + "\" cannot be an account's name",
                "1 to 63 of letters, digits and ._@-.");
  }
  if (Printable(options.organisation) != options.organisation) {
    return Fail(sqlstate::kInvalidParameter, "the organisation has characters that cannot be printed",
                "Leave them out.");
  }
  if (options.organisation.empty()) {
    return Fail(sqlstate::kInvalidParameter, "the organisation is empty", "Name whom the account works for.");
  }
  for (const std::string& role : options.roles) {
    if (policy.roles.contains(role)) continue;
    std::string known;
    for (const auto& [name, unused] : policy.roles) known += (known.empty() ? "" : ", ") + name;
    return Fail(sqlstate::kInvalidParameter, "the policy has no role \"" + role + "\"", "Its roles are " + known + ".");
  }
  return {};
}

int Add(const AccountOptions& options) {
  auto policy = PolicyOf(options.config);
  if (!policy) return 2;
  if (Status good = CheckNew(options, *policy); !good) return Complain("account", good.error());
  auto existing = LoadAccounts(policy->accounts_file);
  if (!existing) return Complain("account", existing.error());
  if (existing->contains(options.name)) {
    return Complain("account", {"", "account \"" + options.name + "\" exists already",
                                "Remove it first to give it another password or other roles.", "", "", 0});
  }
  auto password = AskPassword(options.password_stdin);
  if (!password) return Complain("account", password.error());
  std::array<uint8_t, 16> salt;
  RandomBytes(salt);
  Account account;
  account.name = options.name;
  account.organisation = options.organisation;
  account.roles = options.roles;
  account.verifier = ScramVerifier::Make(password->text.text(),
                                         std::string_view(reinterpret_cast<const char*>(salt.data()), salt.size()),
                                         limits::kScramIterations);
  Status changed = ChangeAccounts(policy->accounts_file, [&](AccountMap& accounts) -> Status {
    if (accounts.emplace(account.name, account).second) return {};
    return Fail(sqlstate::kInvalidParameter, "account \"" + account.name + "\" exists already", "");
  });
  if (!changed) return Complain("account", changed.error());
  std::fprintf(stderr, "account %s added; a running gate knows it at its next login\n", options.name.c_str());
  if (password->generated) std::printf("%s\n", std::string(password->text.text()).c_str());
  return 0;
}

int List(const AccountOptions& options) {
  auto policy = PolicyOf(options.config);
  if (!policy) return 2;
  auto accounts = LoadAccounts(policy->accounts_file);
  if (!accounts) return Complain("account", accounts.error());
  boost::json::array array;
  for (const auto& [name, account] : *accounts) {
    std::string roles;
    for (const std::string& role : account.roles) roles += (roles.empty() ? "" : ",") + role;
    if (!options.json) {
      std::printf("%-24s %-24s %-24s %s\n", name.c_str(), Printable(account.organisation).c_str(), roles.c_str(),
                  account.locked ? ("locked: " + Printable(account.lock_reason)).c_str() : "");
      continue;
    }
    boost::json::object object{{"name", name}, {"organisation", account.organisation}, {"locked", account.locked}};
    object["roles"] = boost::json::array(account.roles.begin(), account.roles.end());
    if (account.locked) object["reason"] = account.lock_reason;
    array.push_back(std::move(object));
  }
  if (options.json) std::printf("%s\n", boost::json::serialize(array).c_str());
  return 0;
}

// Lock, unlock and remove: one change to one account that must be there.
int ChangeOne(const AccountOptions& options, const std::function<void(AccountMap&, AccountMap::iterator)>& change,
              const char* done) {
  auto policy = PolicyOf(options.config);
  if (!policy) return 2;
  Status changed = ChangeAccounts(policy->accounts_file, [&](AccountMap& accounts) -> Status {
    auto found = accounts.find(options.name);
    if (found == accounts.end()) {
      return Fail(sqlstate::kInvalidParameter, "there is no account \"" + options.name + "\"",
                  "ecluse account list shows them all.");
    }
    change(accounts, found);
    return {};
  });
  if (!changed) return Complain("account", changed.error());
  std::fprintf(stderr, "account %s %s\n", options.name.c_str(), done);
  return 0;
}

}  // namespace

void AddAccount(CommandLine& line) {
  auto options = std::make_shared<AccountOptions>();
  CLI::App* account = line.app.add_subcommand("account", "Who may log in with a password");
  account->require_subcommand(1);
  account->footer(
      "Example:\n  ecluse account add alice --role officer --organisation north\n"
      "  echo \"$PASSWORD\" | ecluse account add bob --role officer --organisation north --password-stdin");
  auto command = [&](const char* name, const char* text, bool named, std::function<int(const AccountOptions&)> run,
                     const char* example) {
    CLI::App* sub = account->add_subcommand(name, text);
    sub->footer(std::string("Example:\n  ecluse account ") + example);
    sub->add_option("--config", options->config, "the policy file")->capture_default_str();
    if (named) sub->add_option("name", options->name, "the account")->required();
    sub->callback([&line, options, run = std::move(run)] { line.exit_status = run(*options); });
    return sub;
  };
  CLI::App* add = command("add", "Add an account; without a terminal its password is made up and printed", true, Add,
                          "add alice --role officer --role clerk --organisation north");
  add->add_option("--role", options->roles, "a role it may act as; the first is where sessions start")->required();
  add->add_option("--organisation", options->organisation, "whom it works for")->required();
  add->add_flag("--password-stdin", options->password_stdin, "read the password from standard input");
  command("list", "Show all accounts", false, List, "list --json")->add_flag("--json", options->json, "as JSON");
  CLI::App* lock = command(
      "lock", "Refuse an account's logins", true,
      [](const AccountOptions& given) {
        return ChangeOne(
            given,
            [&given](AccountMap&, AccountMap::iterator found) {
              found->second.locked = true;
              found->second.lock_reason = given.reason;
            },
            "is locked; a running gate ends its sessions and refuses its logins");
      },
      "lock alice --reason \"left the service on 1 May\"");
  lock->add_option("--reason", options->reason, "shown to whoever logs in with the right password")
      ->required()
      ->check([](const std::string& text) { return text.empty() ? "a reason must be given" : std::string(); });
  command(
      "unlock", "Accept an account's logins again", true,
      [](const AccountOptions& given) {
        return ChangeOne(
            given,
            [](AccountMap&, AccountMap::iterator found) {
              found->second.locked = false;
              found->second.lock_reason.clear();
            },
            "is unlocked");
      },
      "unlock alice");
  command(
      "remove", "Remove an account; what it saw stays in the ledger", true,
      [](const AccountOptions& given) {
        return ChangeOne(
            given, [](AccountMap& accounts, AccountMap::iterator found) { accounts.erase(found); },
            "is removed; a running gate ends its sessions");
      },
      "remove alice");
}

}  // namespace ecluse
