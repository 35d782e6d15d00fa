// The accounts file: reading it strictly, writing it so that no reader ever sees half of it.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml-cpp/yaml.h>

#include <cerrno>
#include <cstring>

#include "base/file.h"
#include "identity/accounts.h"

namespace ecluse {
namespace {

std::unexpected<Error> Bad(const std::string& path, const YAML::Mark& mark, const std::string& what,
                           const std::string& allowed) {
  return Fail(sqlstate::kInvalidParameter,
              path + ":" + std::to_string(mark.line + 1) + ":" + std::to_string(mark.column + 1) + ": " + what, allowed,
              "accounts.file");
}

Result<std::string> Text(const std::string& path, const YAML::Node& node, const char* name) {
  if (!node.IsScalar() || node.Scalar().empty()) {
    return Bad(path, node.Mark(), std::string("`") + name + "` is not a text", "Write one value.");
  }
  return node.Scalar();
}

Result<std::vector<std::string>> Roles(const std::string& path, const YAML::Node& node) {
  std::vector<std::string> roles;
  if (!node.IsSequence() || node.size() == 0) {
    return Bad(path, node.Mark(), "`roles` is not a list of at least one role", "Write roles: [officer].");
  }
  for (const YAML::Node& role : node) {
    ECLUSE_TRY(std::string name, Text(path, role, "roles"));
    roles.push_back(std::move(name));
  }
  return roles;
}

Result<Account> ReadAccount(const std::string& path, const std::string& name, const YAML::Node& node) {
  if (!node.IsMap())
    return Bad(path, node.Mark(), "account \"" + name + "\" has no members", "See ecluse account add.");
  Account account;
  account.name = name;
  std::set<std::string> seen;
  for (const auto& member : node) {
    std::string key = member.first.IsScalar() ? member.first.Scalar() : std::string();
    if (!seen.insert(key).second) return Bad(path, member.first.Mark(), "`" + key + "` stands twice", "Remove one.");
    if (key == "organisation") {
      ECLUSE_TRY(account.organisation, Text(path, member.second, "organisation"));
    } else if (key == "roles") {
      ECLUSE_TRY(account.roles, Roles(path, member.second));
    } else if (key == "verifier") {
      ECLUSE_TRY(std::string text, Text(path, member.second, "verifier"));
      auto verifier = ScramVerifier::Parse(text);
      if (!verifier) {
        return Bad(path, member.second.Mark(), "`verifier` is not a SCRAM-SHA-256 verifier",
                   "Set the password again with ecluse account remove and add.");
      }
      account.verifier = std::move(*verifier);
    } else if (key == "locked") {
      ECLUSE_TRY(account.lock_reason, Text(path, member.second, "locked"));
      account.locked = true;
    } else {
      return Bad(path, member.first.Mark(), "unknown member `" + key + "` of account \"" + name + "\"",
                 "Allowed are organisation, roles, verifier, locked.");
    }
  }
  for (const char* required : {"organisation", "roles", "verifier"}) {
    if (!seen.contains(required)) {
      return Bad(path, node.Mark(), "account \"" + name + "\" has no `" + required + "`", "Add it.");
    }
  }
  return account;
}

Result<AccountMap> ReadAccounts(const std::string& path, const YAML::Node& root) {
  AccountMap accounts;
  if (root.IsNull()) return accounts;
  if (!root.IsMap()) return Bad(path, root.Mark(), "the file is not a map", "It holds one member, `accounts`.");
  for (const auto& member : root) {
    std::string key = member.first.IsScalar() ? member.first.Scalar() : std::string();
    if (key != "accounts")
      return Bad(path, member.first.Mark(), "unknown member `" + key + "`", "Allowed is accounts.");
    if (member.second.IsNull()) continue;
    if (!member.second.IsMap()) return Bad(path, member.second.Mark(), "`accounts` is not a map", "Write name: {…}.");
    for (const auto& entry : member.second) {
      std::string name = entry.first.IsScalar() ? entry.first.Scalar() : std::string();
      if (!ValidAccountName(name)) {
        return Bad(path, entry.first.Mark(), "\"" + name + "\" cannot be an account's name",
                   "1 to 63 of letters, digits and ._@-.");
      }
      ECLUSE_TRY(Account account, ReadAccount(path, name, entry.second));
      if (!accounts.emplace(name, std::move(account)).second) {
        return Bad(path, entry.first.Mark(), "account \"" + name + "\" stands twice", "Remove one.");
      }
    }
  }
  return accounts;
}

std::unexpected<Error> FileError(const std::string& path, const std::string& what, int error) {
  return Fail(sqlstate::kIo, path + ": " + what + ": " + std::strerror(error),
              "Check the file's owner and mode, and the disk.", "accounts.io");
}

}  // namespace

Status CheckTwoPeople(const AccountMap& accounts, std::span<const Approver> people) {
  if (people.size() != 2 || people[0].account == people[1].account)
    return Fail(sqlstate::kInvalidParameter, "it takes two people", "Name two accounts: --by alice --by bob.");
  for (const Approver& person : people) {
    const auto found = accounts.find(person.account);
    if (found == accounts.end() || found->second.locked || !found->second.verifier.Matches(person.password.text()))
      return Fail(sqlstate::kWrongPassword, "the name or the password of " + person.account + " is wrong",
                  "Nothing was accepted. Both need an account that is not locked (ecluse account list).");
  }
  return {};
}

bool ValidAccountName(const std::string& name) {
  if (name.empty() || name.size() > limits::kIdentifier) return false;
  for (char c : name) {
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!letter && std::string_view("._@-").find(c) == std::string_view::npos) return false;
  }
  return true;
}

Result<AccountMap> LoadAccounts(const std::string& path) {
  struct stat info{};
  if (stat(path.c_str(), &info) != 0) {
    if (errno == ENOENT) return AccountMap{};
    return FileError(path, "cannot be looked at", errno);
  }
  if ((info.st_mode & 077) != 0) {
    return Fail(sqlstate::kIo, path + " can be read or written by others than its owner", "Run chmod 600 on it.",
                "accounts.mode");
  }
  ECLUSE_TRY(std::string text, ReadWholeFile(RealFiles(), path, limits::kAccountsBytes));
  try {
    return ReadAccounts(path, YAML::Load(text));
  } catch (const YAML::Exception& error) {
    return Bad(path, error.mark, error.msg, "The file must be YAML as ecluse account writes it.");
  }
}

Status SaveAccounts(const std::string& path, const AccountMap& accounts) {
  YAML::Emitter out;
  out << YAML::Comment("Written by ecluse account; passwords are kept as SCRAM-SHA-256 verifiers.") << YAML::BeginMap
      << YAML::Key << "accounts" << YAML::Value << YAML::BeginMap;
  for (const auto& [name, account] : accounts) {
    out << YAML::Key << YAML::DoubleQuoted << name << YAML::Value << YAML::BeginMap;
    out << YAML::Key << "organisation" << YAML::Value << YAML::DoubleQuoted << account.organisation;
    out << YAML::Key << "roles" << YAML::Value << YAML::Flow << YAML::BeginSeq;
    for (const std::string& role : account.roles) out << YAML::DoubleQuoted << role;
    out << YAML::EndSeq;
    out << YAML::Key << "verifier" << YAML::Value << YAML::DoubleQuoted << account.verifier.Text();
    if (account.locked) out << YAML::Key << "locked" << YAML::Value << YAML::DoubleQuoted << account.lock_reason;
    out << YAML::EndMap;
  }
  out << YAML::EndMap << YAML::EndMap;
  struct stat before{};
  bool replaces = stat(path.c_str(), &before) == 0;
  if (Status saved = ReplaceFile(RealFiles(), path, std::string(out.c_str()) + "\n"); !saved) return saved;
  // An administrator who is root must not take the file away from the gate's own user.
  if (replaces && before.st_uid != geteuid() && chown(path.c_str(), before.st_uid, before.st_gid) != 0) {
    return FileError(path, "cannot be given back to its owner", errno);
  }
  return {};
}

Status ChangeAccounts(const std::string& path, const std::function<Status(AccountMap&)>& change) {
  std::string lock_path = path + ".lock";
  int lock = open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock < 0) return FileError(lock_path, "cannot be opened", errno);
  std::unique_ptr<int, void (*)(int*)> closer(&lock, [](int* fd) { close(*fd); });
  if (flock(lock, LOCK_EX) != 0) return FileError(lock_path, "cannot be locked", errno);
  ECLUSE_TRY(AccountMap accounts, LoadAccounts(path));
  if (Status changed = change(accounts); !changed) return changed;
  return SaveAccounts(path, accounts);
}

}  // namespace ecluse
